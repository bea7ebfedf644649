"""Loader of a configuration: merges flags over environment over file, and builds the struct."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from perwatt_agent.configfile.layers import Layers, Origin, unknown_key
from perwatt_agent.configfile.printable import without_secrets
from perwatt_agent.configfile.settings import Setting, flag_name, join, settings_of, variable_name, walk
from perwatt_agent.configfile.value_kinds import Kind

Flags = Mapping[str, str | Sequence[str] | None]
"""Flags of the command line, by dotted path: one text for a scalar, several for a repeatable flag."""

IsValid = Callable[[str], bool]
"""Tells whether there is no error at or below a path."""

C = TypeVar("C", bound=Struct)


def load(
    config: type[C],
    path: Path | None,
    environ: Mapping[str, str],
    flags: Flags,
    checks: Callable[[C, IsValid], Iterator[tuple[str, str]]] = lambda built, is_valid: iter(()),
    renamed: Mapping[str, str] | None = None,
) -> C:
    """
    Read `config` from its three layers.

    `checks` yields a path and a message for each broken rule between keys. `renamed` maps a path to the path
    that names its variable and flag. Raises ConfigError with all errors.
    """
    layers = Layers()
    if path is not None:
        # Only where there is a file: YAML's reader takes a mebibyte and a twentieth of the start.
        from perwatt_agent.configfile.yamlfile import read_file

        read_file(path, config, layers)
    _read_environment(config, environ, renamed or {}, layers)
    _read_flags(config, flags, renamed or {}, layers)
    values = _section(config, "", layers)
    built = None if values is None else config(**values)
    if built is not None:
        for where, message in checks(built, layers.is_valid):
            layers.add_error(where, message)
    layers.raise_errors()
    assert built is not None, "a struct that cannot be built has an error"
    return built


def _read_environment(
    config: type[Struct], environ: Mapping[str, str], renamed: Mapping[str, str], layers: Layers
) -> None:
    """
    Add the variables to the layers. An empty variable counts as unset.

    Unknown PERWATT_ variables are ignored, as Kubernetes sets some for every service of that name.
    """
    for path, setting in walk(config):
        variable = variable_name(renamed.get(path, path))
        if setting.shape == "scalar" and environ.get(variable):
            layers.set(path, environ[variable], Origin(1, 0, variable))


def _read_flags(config: type[Struct], flags: Flags, renamed: Mapping[str, str], layers: Layers) -> None:
    for path, setting in walk(config):
        given = flags.get(path)
        if given is None:
            continue
        origin = Origin(2, 0, f"--{setting.flag}" if setting.flag else flag_name(renamed.get(path, path)))
        if isinstance(given, str):
            layers.set(path, given, origin)
        elif setting.shape == "map":
            for text in given:
                _read_pairs(text, path, origin, layers)
        else:
            _read_list_flag(setting, given, path, origin, layers)


def _read_list_flag(
    setting: Setting, texts: Sequence[str], path: str, origin: Origin, layers: Layers
) -> None:
    layers.remove(path)
    layers.set(path, None, origin)
    for index, text in enumerate(texts):
        where = f"{path}[{index}]"
        if setting.section is None:
            layers.set(where, text, origin)
        else:
            layers.set(where, None, origin)
            known = [inner.name for inner in settings_of(setting.section)]
            if setting.shorthand and text.partition("=")[0] not in known:
                layers.set(join(where, setting.shorthand), text, origin)
            else:
                _read_pairs(text, where, origin, layers, known)


def _read_pairs(text: str, path: str, origin: Origin, layers: Layers, known: list[str] | None = None) -> None:
    """Read `key=value,key=value`. A comma without a key after it belongs to the value."""
    for pair in re.split(r",(?=[\w-]+=)", text):
        name, separator, value = pair.partition("=")
        where = join(path, name)
        if not separator:
            layers.add_error(path, f"expected key=value, not {pair!r}", origin)
        elif known is not None and name not in known:
            layers.add_error(where, unknown_key(name, known), origin)
        else:
            layers.set(where, value, origin)


def _section(config: type[Struct], path: str, layers: Layers) -> dict[str, Any] | None:
    """Return the values of a struct's fields; None if a required one is missing or invalid."""
    values: dict[str, Any] = {}
    complete = True
    for setting in settings_of(config):
        where = join(path, setting.name)
        if layers.contains(where) or setting.shape == "section":
            value = _BUILDERS[setting.shape](setting, where, layers)
            if value is not None:
                values[setting.name] = value
        elif setting.required and setting.kind is not None:
            layers.add_error(where, f"expected {_expected(setting.kind)}, but it is missing")
        complete = complete and (setting.name in values or not setting.required)
    return values if complete else None


def _scalar(setting: Setting, path: str, layers: Layers) -> Any:
    given = layers.get(path)
    if given is None or given.text is None or setting.kind is None:
        return None
    return _read(setting.kind, given.text, path, layers)


def _read(kind: Kind, text: str, path: str, layers: Layers) -> Any:
    try:
        return kind.read(text)
    except ValueError as error:
        layers.add_error(path, f"expected {error}, not {without_secrets(text)!r}")
        return None


def _expected(kind: Kind) -> str:
    try:
        return str(kind.read(""))
    except ValueError as error:
        return str(error)


def _list(setting: Setting, path: str, layers: Layers) -> tuple[Any, ...]:
    values = (_scalar(setting, where, layers) for where in _elements(path, layers))
    return tuple(value for value in values if value is not None)


def _map(setting: Setting, path: str, layers: Layers) -> dict[str, Any]:
    values = {name: _scalar(setting, join(path, name), layers) for name in layers.names_under(path)}
    return {name: value for name, value in values.items() if value is not None}


def _one_section(setting: Setting, path: str, layers: Layers) -> Struct | None:
    if setting.section is None or (setting.default is None and not layers.contains(path)):
        return None
    values = _section(setting.section, path, layers)
    return None if values is None else setting.section(**values)


def _sections(setting: Setting, path: str, layers: Layers) -> tuple[Struct, ...] | None:
    """Return the sections of a list, or None if one is invalid: an index must not change its meaning."""
    sections = [_one_section(setting, where, layers) for where in _elements(path, layers)]
    whole = tuple(section for section in sections if section is not None)
    return whole if len(whole) == len(sections) else None


def _elements(path: str, layers: Layers) -> list[str]:
    where: list[str] = []
    while layers.contains(f"{path}[{len(where)}]"):
        where.append(f"{path}[{len(where)}]")
    return where


_BUILDERS: Mapping[str, Callable[[Setting, str, Layers], Any]] = {
    "scalar": _scalar,
    "list": _list,
    "map": _map,
    "section": _one_section,
    "sections": _sections,
}
