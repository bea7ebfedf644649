"""docs/failures.md: every reason of a failed fetch or read, with its meaning and who gives it."""

from collections.abc import Mapping

from perwatt_agent.discovery.pod_list import POD_LIST_REASONS
from perwatt_agent.engine.engine_page_reader import ENGINE_REASONS
from perwatt_agent.identity.pod_resources import PODS_REASONS
from perwatt_agent.meters.meter import METER_REASONS
from perwatt_agent.net.failures import TABLE
from perwatt_aggregator.scraping.scraper import SCRAPE_REASONS

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "engine": ENGINE_REASONS,
    "meter": METER_REASONS,
    "pod list": POD_LIST_REASONS,
    "pod devices": PODS_REASONS,
    "scrape": SCRAPE_REASONS,
}
"""The reasons of each subject."""


def document() -> str:
    """The table as a page of Markdown."""
    lines = [
        "# Why a read failed",
        "",
        "<!-- Generated from perwatt_agent/net/failures.py by `make docs`; do not edit. -->",
        "",
        "The label `reason` of `perwatt_collector_failures_total` (engines, meters, pods),",
        "`perwatt_aggregator_target_failures_total` (scrapes of agents) and",
        "`perwatt_aggregator_shared_meter_failures_total` (meters), and `failure` in the aggregator's",
        "answers. Other collectors of the agent have reasons of their own.",
        "",
        "| reason | meaning | given by |",
        "|---|---|---|",
    ]
    lines += [f"| `{one.name}` | {one.meaning} | {', '.join(_given_by(one.name))} |" for one in TABLE]
    return "\n".join(lines) + "\n"


def _given_by(reason: str) -> tuple[str, ...]:
    return tuple(subject for subject, reasons in SUBJECTS.items() if reason in reasons)
