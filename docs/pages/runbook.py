"""docs/runbook.md, from the tables of the alerts."""

from collections.abc import Iterator

from perwatt_rules import ALERT_GROUPS
from rules_model import Alert

_INTRODUCTION = """# Runbook

<!-- Generated from dashboards/prometheus by `make docs`; do not edit. -->

What each alert of `dashboards/prometheus/rules/perwatt-alerts.yaml` means, how to see it, what to do, and
when it needs no action. Severities: critical needs somebody now, warning needs somebody on a working day,
info is a place to save joules or to prevent a fault.

"""


def document() -> str:
    alerts = [rule for group in ALERT_GROUPS for rule in group.rules if isinstance(rule, Alert)]
    index = "".join(
        f"| [`{alert.name}`](#{alert.name.lower()}) | {alert.severity} | {alert.summary} |\n"
        for alert in alerts
    )
    return f"{_INTRODUCTION}| alert | severity | summary |\n|---|---|---|\n{index}" + "".join(
        line for alert in alerts for line in _page(alert)
    )


def _page(alert: Alert) -> Iterator[str]:
    yield f"\n## {alert.name}\n\n{alert.summary} ({alert.severity}, after {alert.wait})\n\n"
    yield f"- **What it means.** {alert.meaning}\n"
    yield f"- **How to see it.** {alert.check}\n"
    yield f"- **What to do.** {alert.action}\n"
    yield f"- **When to ignore it.** {alert.ignore}\n"
