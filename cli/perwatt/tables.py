"""Answers of the aggregator as text for a terminal: aligned, at most three significant digits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]
Column = tuple[str, Callable[[Item], str]]

SIMULATED = "SIMULATED: these figures come from simulated GPUs and say nothing about a real machine."

ABSENT = "-"


def significant(value: object) -> str:
    """A number with at most three significant digits and no exponent; `-` for what is absent."""
    if value is None:
        return ABSENT
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if abs(rounded) >= 100 else f"{rounded:.12f}".rstrip("0").rstrip(".")


def efficiency_table(items: Sequence[Item]) -> str:
    """The items of `/v1/efficiency`: what was asked first, then the figures, then whether to trust them."""
    names = dict.fromkeys(name for item in items for name in item["group"])
    groups: list[Column] = [(name, _group(name)) for name in names]
    return _answer(items, [*groups, *EFFICIENCY])


def plain_table(items: Sequence[Item]) -> str:
    """Any other list of items: every fact is a column, nested facts by their path."""
    flat = [dict(_flatten(item)) for item in items]
    names = dict.fromkeys(name for item in flat for name in item)
    return _answer(flat, [(name, _fact(name)) for name in names])


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, numbers to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [any(map(_is_number, column[1:])) for column in columns]
    lines = ([_pad(*cell) for cell in zip(row, widths, right, strict=True)] for row in (header, *rows))
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _answer(items: Sequence[Item], columns: Sequence[Column]) -> str:
    if not items:
        return "nothing is known yet"
    rows = [[read(item) for _, read in columns] for item in items]
    table = aligned([title for title, _ in columns], rows)
    return f"{SIMULATED}\n{table}" if any(map(_simulated, items)) else table


def _simulated(item: Item) -> bool:
    return any(
        "simulated" in str(item.get(key, "")) for key in ("provenance", "source", "sources", "backend")
    )


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


def _group(name: str) -> Callable[[Item], str]:
    return lambda item: _text(item["group"].get(name))


def _fact(*path: str) -> Callable[[Item], str]:
    def read(item: Item) -> str:
        value: Any = item
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return _text(value)

    return read


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or ABSENT
    return significant(value)


def _window(item: Item) -> str:
    window = item["window"]
    end = str(window["end"] or "").partition("T")[2] or ABSENT
    return f"{significant(window['seconds'])}s to {end}"


def _flatten(item: Item, prefix: str = "") -> Iterable[tuple[str, object]]:
    for name, value in item.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


EFFICIENCY: tuple[Column, ...] = (
    ("boundary", _fact("boundary")),
    ("tokens/J", _fact("tokens_per_joule")),
    ("J/token", _fact("joules_per_token")),
    ("active tokens/J", _fact("tokens_per_joule_active")),
    ("Wh/Mtoken", _fact("watt_hours_per_million_tokens")),
    ("W", _fact("power_watts")),
    ("tokens/s", _fact("output_tokens_per_second")),
    ("PUE", _fact("pue", "ratio")),
    ("window", _window),
    ("coverage", _fact("coverage_ratio")),
    ("explained", _fact("explained_ratio")),
    ("provenance", _fact("provenance")),
    ("valid", _fact("valid")),
    ("reasons", _fact("reasons")),
)
