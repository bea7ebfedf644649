"""The reference of all configuration keys, made from the structs that read them."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from perwatt.logs import LogOptions
from perwatt.options import FORMS, default_text
from perwatt_agent.config import AgentConfig
from perwatt_agent.configfile import Setting, flag_name, settings_of, variable_name, walk
from perwatt_aggregator.config import AggregatorConfig


def configuration_reference() -> str:
    """Markdown tables of every key: flag, variable, default, meaning."""
    chapters = (
        *_chapter("The agent", AgentConfig),
        *_chapter("The aggregator", AggregatorConfig),
        *_chapter("Logging of both (not in the files)", LogOptions),
    )
    return "\n\n".join(chapters) + "\n"


def _chapter(title: str, config: type[Struct]) -> Iterator[str]:
    yield f"### {title}"
    yield _table(("key", "flag", "variable", "default", "meaning"), [_row(*row) for row in walk(config)])
    for path, setting in walk(config):
        if setting.section is not None:
            yield f"#### Each of `{path}`"
            inner = settings_of(setting.section)
            rows = [(_code(each.name), _code(default_text(each)), each.help) for each in inner]
            yield _table(("key", "default", "meaning"), rows)


def _row(path: str, setting: Setting) -> tuple[str, ...]:
    if setting.shape == "scalar":
        flag, variable = flag_name(path), variable_name(path)
    else:
        flag, variable = f"--{setting.flag} {FORMS[setting.flag]}", ""
    default = "required with its section" if setting.required else _code(default_text(setting))
    return _code(path), _code(flag), _code(variable), default, setting.help


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
