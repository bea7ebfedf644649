"""Tables of metric families in Markdown."""

from collections.abc import Iterable
from typing import Any

from perwatt_exporter.page.family import Family

HEAD = "| name | type | labels | meaning |\n|---|---|---|---|\n"


def table(families: Iterable[Family[Any]]) -> str:
    """One row a family, under a head."""
    return HEAD + "".join(map(_row, families))


def _row(family: Family[Any]) -> str:
    labels = ", ".join(_label(family, label) for label in family.labels) or "-"
    return f"| `{family.name}` | {family.kind} | {labels} | {_cell(family.help)} |\n"


def _label(family: Family[Any], label: str) -> str:
    values = family.closed.get(label)
    return f"`{label}` = {' / '.join(values)}" if values else f"`{label}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")
