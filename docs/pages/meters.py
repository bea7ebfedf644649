"""docs/meters.md: its table of kinds is written from the rows; the rest of the page is written by hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from perwatt_agent.configfile.value_kinds import show_duration
from perwatt_agent.meters.catalog import METERS
from perwatt_agent.meters.kind import MeterKind

PAGE = Path(__file__).parents[1] / "meters.md"
BEGIN = "<!-- Generated from perwatt_agent/meters/kinds by `make docs`; do not edit. -->\n\n"
END = "\n<!-- End of the generated table. -->\n"


def document() -> str:
    """Return the page with its table of kinds made anew."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def table(kinds: Sequence[MeterKind] = METERS) -> str:
    """Return a row for each kind, in the order of trust."""
    lines = [
        "| kind | how it is given | measures | boundary | standard uncertainty | read every | limits |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| `{kind.name}` | {'; '.join(_given(kind)) or 'computed'} | {kind.measures} | {kind.boundary} "
            f"| {100 * kind.uncertainty_ratio:g} % | {_interval(kind)} | {kind.limits} |"
            for kind in kinds
        ),
    ]
    return "\n".join(lines) + "\n"


def _given(kind: MeterKind) -> Iterator[str]:
    if kind.find is not None:
        yield "found on the machine"
    if kind.is_configured:
        keys = [f"`{key}`" for key in kind.needs]
        yield f"`kind: {kind.name}` with {', '.join(keys)}" if keys else f"`kind: {kind.name}`"
    if kind.is_label:
        yield f"`source: {kind.name}`"


def _interval(kind: MeterKind) -> str:
    return show_duration(kind.interval_seconds) if kind.interval_seconds else ""
