"""File layer: YAML, read strictly, with the line of every key."""

from pathlib import Path

import yaml
from msgspec import Struct

from perwatt_agent.configfile.layers import ConfigError, Layers, Origin, unknown_key
from perwatt_agent.configfile.settings import Setting, join, settings_of


def compose(path: Path) -> yaml.Node | None:
    """
    The node tree of a YAML file; None when it is empty.

    Raises ConfigError when the file cannot be read or is not YAML.
    """
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}:1: file: expected YAML in UTF-8"]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{path}:{line}: file: expected YAML ({error.problem})"]) from None
    except RecursionError:
        raise ConfigError([f"{path}:1: file: expected YAML (nested less deeply)"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}:1: file: expected YAML ({str(error).splitlines()[0]})"]) from None


def read_file(path: Path, config: type[Struct], layers: Layers) -> None:
    """Add a file to the layers. Keys that `config` does not have are errors."""
    root = compose(path)
    if root is not None and not _is_null(root):
        _File(str(path), layers).section(root, config, "", Origin(0, 1, f"{path}:1"))


def top_level_keys(path: Path) -> list[str]:
    """Return the top-level keys, which show whose file it is. Raises ConfigError like `compose`."""
    root = compose(path)
    return [str(key.value) for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []


class _File:
    """Reader of one file's nodes, guided by the configuration struct."""

    def __init__(self, name: str, layers: Layers) -> None:
        self._name = name
        self._layers = layers

    def section(self, node: yaml.Node, config: type[Struct], path: str, at: Origin) -> None:
        settings = {setting.name: setting for setting in settings_of(config)}
        for name, value, here in self._pairs(node, path, at):
            where = join(path, name)
            if name not in settings:
                self._layers.add_error(where, unknown_key(name, list(settings)), here)
            elif not _is_null(value):
                self._value(value, settings[name], where, here)

    def _value(self, node: yaml.Node, setting: Setting, path: str, at: Origin) -> None:
        if setting.shape == "section" and setting.section is not None:
            self.section(node, setting.section, path, at)
        elif setting.shape == "map":
            for name, value, here in self._pairs(node, path, at):
                self._scalar(value, join(path, name), here)
        elif setting.shape == "scalar":
            self._scalar(node, path, at, setting.kind.joined if setting.kind else "")
        else:
            self._list(node, setting, path, at)

    def _scalar(self, node: yaml.Node, path: str, at: Origin, joined: str = "") -> None:
        if isinstance(node, yaml.ScalarNode):
            self._layers.set(path, node.value, at)
        elif joined and isinstance(node, yaml.SequenceNode) and _all_scalars(node):
            self._layers.set(path, joined.join(item.value for item in node.value), at)
        else:
            self._layers.add_error(
                path, f"expected a single value{' or a list of them' if joined else ''}", at
            )

    def _list(self, node: yaml.Node, setting: Setting, path: str, at: Origin) -> None:
        if not isinstance(node, yaml.SequenceNode):
            self._layers.add_error(path, "expected a list", at)
            return
        self._layers.set(path, None, at)
        for index, item in enumerate(node.value):
            where, here = f"{path}[{index}]", self._origin(item)
            if setting.section is None:
                self._scalar(item, where, here)
            elif setting.shorthand and isinstance(item, yaml.ScalarNode):
                self._layers.set(where, None, here)
                self._scalar(item, join(where, setting.shorthand), here)
            else:
                self.section(item, setting.section, where, here)

    def _pairs(self, node: yaml.Node, path: str, at: Origin) -> list[tuple[str, yaml.Node, Origin]]:
        """Return the keys of a mapping, each once, with their values and lines."""
        if not isinstance(node, yaml.MappingNode):
            self._layers.add_error(path or "file", "expected a mapping of keys to values", at)
            return []
        self._layers.set(path, None, at)
        pairs: dict[str, tuple[str, yaml.Node, Origin]] = {}
        for key, value in node.value:
            name, here = key.value if isinstance(key, yaml.ScalarNode) else "?", self._origin(key)
            if name in pairs:
                self._layers.add_error(join(path, name), "expected once, but given again", here)
            pairs.setdefault(name, (name, value, here))
        return list(pairs.values())

    def _origin(self, node: yaml.Node) -> Origin:
        line = node.start_mark.line + 1
        return Origin(0, line, f"{self._name}:{line}")


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _all_scalars(node: yaml.SequenceNode) -> bool:
    return all(isinstance(item, yaml.ScalarNode) for item in node.value)
