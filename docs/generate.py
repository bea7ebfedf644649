"""
Write the documents that are made from the code; with `--check`, only say which of them are stale.

A further document is one more line in DOCUMENTS and the function that writes it.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from perwatt.engine_reference import engine_reference
from perwatt.reference import configuration_reference
from perwatt_agent.diagnosis.document import document as health_document
from perwatt_agent.snapshot import Snapshot
from perwatt_aggregator.compute.document import compute_document
from perwatt_aggregator.validity.all import document as validity_document
from perwatt_exporter.families.all import GROUPS
from perwatt_exporter.family import Family

DOCS = Path(__file__).parent
METRICS_INTRODUCTION = """# Metrics of the agent

<!-- Generated from perwatt_exporter/families by `make docs`; do not edit. -->

What `GET /metrics` on port 9836 shows. Everything is in base units, ratios are 0 to 1, and what is not known
is absent, never 0. `gpu` is a GPU's UUID. Beside these the page shows the process itself: `process_*` and
`python_info`.
"""


def metrics() -> str:
    """The agent's metric families, by the file that defines them."""
    sections = [_metrics_section(name, families) for name, families in GROUPS.items()]
    return "\n".join([METRICS_INTRODUCTION, *sections])


def _metrics_section(name: str, families: tuple[Family[Snapshot], ...]) -> str:
    title = importlib.import_module(f"perwatt_exporter.families.{name}").__doc__ or ""
    head = "| name | type | labels | meaning |\n|---|---|---|---|\n"
    return f"## {name}\n\n{title.strip()}\n\n{head}{''.join(map(_metrics_row, families))}"


def _metrics_row(family: Family[Snapshot]) -> str:
    labels = ", ".join(_label(family, label) for label in family.labels) or "-"
    return f"| `{family.name}` | {family.kind} | {labels} | {_cell(family.help)} |\n"


def _label(family: Family[Snapshot], label: str) -> str:
    values = family.closed.get(label)
    return f"`{label}` = {' / '.join(values)}" if values else f"`{label}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


DOCUMENTS: dict[str, Callable[[], str]] = {
    "metrics.md": metrics,
    "engines.md": engine_reference,
    "configuration.md": configuration_reference,
    "validity.md": validity_document,
    "compute.md": compute_document,
    "health.md": health_document,
}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(f"usage: {Path(__file__).name} [--check]", file=sys.stderr)  # noqa: T201 - a command prints
        return 2
    stale = [name for name, write in DOCUMENTS.items() if _read(DOCS / name) != write()]
    if not arguments:
        for name in stale:
            (DOCS / name).write_text(DOCUMENTS[name]())
        return 0
    for name in stale:
        print(f"docs/{name} is stale: run `make docs`", file=sys.stderr)  # noqa: T201 - a command prints
    return 1 if stale else 0


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
