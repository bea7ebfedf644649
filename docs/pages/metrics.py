"""docs/metrics.md: the metric families of the agent, by the file that defines them."""

import importlib

from pages.metric_tables import table
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.all import GROUPS
from perwatt_exporter.page.family import Family

INTRODUCTION = """# Metrics of the agent

<!-- Generated from perwatt_exporter/families by `make docs`; do not edit. -->

Metrics at `GET /metrics` on port 9836. All are in base units, ratios are 0 to 1, and an unknown value is
absent, never 0. `gpu` is a GPU's UUID. The page also has metrics of the agent's process: `process_*` and
`python_info`. The [glossary](glossary.md) defines the words.
"""


def document() -> str:
    sections = [_section(name, families) for name, families in GROUPS.items()]
    return "\n".join([INTRODUCTION, *sections])


def _section(name: str, families: tuple[Family[Snapshot], ...]) -> str:
    title = importlib.import_module(f"perwatt_exporter.families.{name}").__doc__ or ""
    return f"## {name}\n\n{title.strip()}\n\n{table(families)}"
