"""Settings of a configuration struct: the name, kind, default and flag of each key."""

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from perwatt_agent.configfile.value_kinds import Kind

Shape = Literal["scalar", "list", "map", "section", "sections"]


class Key(Struct, frozen=True):
    """
    Annotation of a struct's field. `flag` names the repeatable flag of a list or map.

    `shorthand` is the key that a plain text sets in a list of sections, as the URL in a list of URLs.
    """

    help: str
    kind: Kind | None = None
    flag: str = ""
    shorthand: str = ""


class Setting(Struct, frozen=True):
    """One field of a configuration struct. `section` is the struct of a section or a list of sections."""

    name: str
    shape: Shape
    default: Any
    help: str = ""
    kind: Kind | None = None
    flag: str = ""
    section: type[Struct] | None = None
    shorthand: str = ""

    @property
    def required(self) -> bool:
        return self.default is msgspec.NODEFAULT


@cache
def settings_of(config: type[Struct]) -> tuple[Setting, ...]:
    """Return the fields of a configuration struct, in order."""
    return tuple(_setting(field) for field in msgspec.structs.fields(config))


def walk(config: type[Struct], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Yield every key outside lists with its dotted path, including those in sections."""
    for setting in settings_of(config):
        path = join(prefix, setting.name)
        if setting.shape == "section" and setting.section is not None:
            yield from walk(setting.section, path)
        else:
            yield path, setting


def join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def flag_name(path: str) -> str:
    """`web.listen_address` is `--web.listen-address` on the command line."""
    return "--" + path.replace("_", "-")


def variable_name(path: str) -> str:
    """`web.listen_address` is `PERWATT_WEB_LISTEN_ADDRESS` in the environment."""
    return "PERWATT_" + path.replace(".", "_").upper()


def _setting(field: msgspec.structs.FieldInfo) -> Setting:
    annotation, key = field.type, Key("")
    if get_origin(annotation) is Annotated:
        annotation, key = get_args(annotation)
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    shape, section = _shape(annotation)
    return Setting(field.name, shape, default, key.help, key.kind, key.flag, section, key.shorthand)


def _shape(annotation: Any) -> tuple[Shape, type[Struct] | None]:
    section = next((a for a in (annotation, *get_args(annotation)) if _is_struct(a)), None)
    origin = get_origin(annotation)
    if origin is tuple:
        return ("sections" if section else "list"), section
    if origin is dict:
        return "map", None
    return ("section" if section else "scalar"), section


def _is_struct(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Struct)
