"""Recording rules and alerts: what promtool says, their unit tests, and the house's own rules for them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.servers import promql

PROMETHEUS = Path(__file__).parents[2] / "dashboards" / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yaml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.test.yaml"))

RULES: list[dict[str, Any]] = [
    rule
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
RECORDINGS = {rule["record"]: rule for rule in RULES if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}

# Prometheus makes these two itself.
BUILT_IN = {"up", "ALERTS"}


def promtool(*arguments: str) -> None:
    result = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)

    assert 0 == result.returncode, result.stdout + result.stderr


def test_promtool_accepts_the_rules() -> None:
    """promtool finds neither an error nor anything to lint."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULE_FILES))


@pytest.mark.slow
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_rules_do_what_they_say(path: Path) -> None:
    """Each rule file's own unit tests hold."""
    promtool("test", "rules", str(path))


def test_every_rule_file_has_tests() -> None:
    """A rule file without unit tests is not shipped."""
    assert [path.name.replace(".yaml", ".test.yaml") for path in RULE_FILES] == [
        path.name for path in TEST_FILES
    ]


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_fires_in_a_test(name: str) -> None:
    """
    Each alert is seen firing in the unit tests.

    That the others stay silent is part of the same tests: they list all that fires.
    """
    tests = (PROMETHEUS / "tests" / "perwatt-alerts.test.yaml").read_text()

    assert f'alertname="{name}"' in tests


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_rules_name_only_what_exists(rule: dict[str, Any]) -> None:
    """An expression names metrics of the contract, with labels that they have, or rules recorded here."""
    assert set() == promql.metric_names(rule["expr"]) - promql.METRICS - RECORDINGS.keys() - BUILT_IN
    for selector in promql.selectors(rule["expr"]):
        if selector.name in promql.METRICS:
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= {"job", "instance", *promql.LABELS[selector.name]}


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_names_tell_level_metric_and_operation(name: str) -> None:
    """Names are level:metric:operations, ratios are named so, and a rate drops the counter's `_total`."""
    level, metric, operation = name.split(":")

    assert re.fullmatch(r"(instance|job|facility)(_(model|state|cause))*", level)
    assert re.fullmatch(r"perwatt_[a-z_]+", metric)
    assert not metric.endswith("_total")
    assert re.fullmatch(r"(ratio_)?rate(5m|1h)", operation)
    assert ("_per_" in metric) == operation.startswith("ratio_")


@pytest.mark.parametrize("name", [name for name in RECORDINGS if ":ratio_" in name])
def test_ratios_are_sums_over_sums(name: str) -> None:
    """A ratio divides recorded sums and never averages; what it divides by is more than zero."""
    expression = RECORDINGS[name]["expr"]

    assert set() == promql.metric_names(expression) - RECORDINGS.keys()
    assert "avg" not in expression
    assert "> 0)" in expression


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_say_what_to_do(name: str) -> None:
    """An alert waits, has a known severity, a static summary, and a description that names where and what."""
    alert = ALERTS[name]
    summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]

    assert name.startswith("Perwatt")
    assert alert["for"]
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert "{{" not in summary
    assert summary.endswith(".")
    assert len(description) > len(summary)
    assert "{{" in description or alert["expr"].startswith("absent")
