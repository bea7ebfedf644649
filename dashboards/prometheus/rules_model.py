"""Model of a Prometheus rule file: recording rules, alerts, groups, and their YAML."""

import textwrap
from typing import Any, Literal

import yaml
from msgspec import Struct

Severity = Literal["critical", "warning", "info"]

RUNBOOK = "docs/runbook.md"
MAX_RULES = 20
"""Mimir's default limit on the rules of one group."""


class Recording(Struct, frozen=True):
    """A recorded series: `name` is level:metric:operation."""

    name: str
    expression: str


class Alert(Struct, frozen=True):
    """
    An alert and its part of the runbook.

    `wait` is how long the expression must hold, as Prometheus writes durations. `detail` is a template with
    what was found, and where. The annotation `description` is `detail` and `action` together. `meaning` is
    why it matters, `check` how to see it, `ignore` when it needs no action.
    """

    name: str
    severity: Severity
    wait: str
    expression: str
    summary: str
    detail: str
    action: str
    meaning: str
    check: str
    ignore: str


class Group(Struct, frozen=True):
    """Rules that Prometheus evaluates one after another, at the same instant."""

    name: str
    rules: tuple[Recording | Alert, ...]


def rule_file(heading: str, groups: tuple[Group, ...]) -> str:
    """The YAML of a rule file under a comment."""
    comment = "".join(f"# {line}\n" for line in textwrap.wrap(heading, 108))
    content = {
        "groups": [{"name": group.name, "rules": [_rule(rule) for rule in group.rules]} for group in groups]
    }
    return comment + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def runbook_address(alert: Alert) -> str:
    return f"{RUNBOOK}#{alert.name.lower()}"


def _rule(rule: Recording | Alert) -> dict[str, Any]:
    expression = textwrap.dedent(rule.expression).strip()
    if isinstance(rule, Recording):
        return {"record": rule.name, "expr": expression}
    return {
        "alert": rule.name,
        "expr": expression,
        "for": rule.wait,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary,
            "description": f"{rule.detail} {rule.action}",
            "runbook_url": runbook_address(rule),
        },
    }


class _Dumper(yaml.SafeDumper):
    """YAML with expressions of several lines as they are written."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)
