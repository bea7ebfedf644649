"""Recording rules and alerts: what promtool says, their unit tests, and the house's own rules for them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import energy_alerts
import gpu_alerts
import perwatt_rules
import pytest
import rules_model
import yaml
from support.servers import promql

from perwatt_agent.diagnosis import xids
from perwatt_agent.facts.health import HEALTH_REASONS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "dashboards" / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yaml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.test.yaml"))

RULES: list[dict[str, Any]] = [
    rule
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
UNIT_TESTS: list[dict[str, Any]] = [
    test for path in TEST_FILES for test in yaml.safe_load(path.read_text())["tests"]
]
RECORDINGS = {rule["record"]: rule for rule in RULES if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}

# Prometheus makes these itself.
BUILT_IN = {"up", "scrape_duration_seconds"}
# What these show has no ratio of its own.
WITHOUT_RATIO = {"perwatt_workload_info", "perwatt_workload_missing_gpus"}
# The operator records this one.
OF_THE_SITE = {energy_alerts.CONTRACT}


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


def test_the_committed_rules_are_fresh() -> None:
    """`python dashboards/prometheus/perwatt_rules.py` would change nothing."""
    assert perwatt_rules.files() == {path.name: path.read_text() for path in RULE_FILES}


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_levels_are_evaluated_in_order(path: Path) -> None:
    """promtool takes any order of groups that is not stated, and then figures depend on luck."""
    stated = yaml.safe_load(path.read_text())["group_eval_order"]

    assert [group.name for group in perwatt_rules.RECORDING_GROUPS] == stated


def test_groups_fit_limits() -> None:
    """No group has more rules than Mimir takes by default."""
    groups = (*perwatt_rules.RECORDING_GROUPS, *perwatt_rules.ALERT_GROUPS)

    assert len(groups) == len({group.name for group in groups})
    assert all(len(group.rules) <= rules_model.MAX_RULES for group in groups)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_fires_and_does_not(name: str) -> None:
    """
    Each alert fires in a unit test, and at another time of the same test it does not.

    What fires beside it, and what does not, is part of the same tests: they list all that fires.
    """
    firing = [
        [f'alertname="{name}"' in str(check["exp_samples"]) for check in test["promql_expr_test"]]
        for test in UNIT_TESTS
    ]

    assert any(any(times) and not all(times) for times in firing)


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_is_tested(name: str) -> None:
    """Each recorded series has its figure in a unit test."""
    assert any(
        name in check["expr"] and check["exp_samples"]
        for test in UNIT_TESTS
        for check in test["promql_expr_test"]
    )


@pytest.mark.parametrize("code", [*map(str, range(1, 200)), "unknown", "other"])
def test_each_xid_has_one_alert_at_most(code: str) -> None:
    """The lists of fatal and warning XID errors are disjoint, and are those of the agent's own rules."""
    fatal, warning = (
        promql.selectors(f"up{selector}")[0].matchers.matchers[0]
        for selector in (gpu_alerts.FATAL_XIDS, gpu_alerts.WARNING_XIDS)
    )
    is_fatal = re.fullmatch(fatal.value, code) is not None
    is_warning = re.fullmatch(warning.value, code) is None  # of a negative matcher
    kind = xids.meaning_of(int(code) if code.isdigit() else xids.UNNAMED).kind

    assert (kind == "fatal", kind == "warning") == (is_fatal, is_warning)


def test_every_reason_of_health_has_one_alert() -> None:
    """No reason of the agent's health rules is without an alert, and none has two."""
    by_state = {"driver_down", "lost", "hung", "unreadable"}  # of perwatt_backend_up and perwatt_gpus
    named = [
        reason
        for alert in ALERTS.values()
        for selector in promql.selectors(alert["expr"])
        for matcher in selector.matchers.matchers
        if matcher.name == "reason" and selector.name == "perwatt_gpu_health_reason"
        for reason in matcher.value.split("|")
    ]

    assert sorted(named) == sorted(set(HEALTH_REASONS) - by_state)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_rules_name_only_what_exists(rule: dict[str, Any]) -> None:
    """An expression names metrics of the contract, with labels that they have, or rules recorded here."""
    assert (
        set()
        == promql.metric_names(rule["expr"]) - promql.METRICS - RECORDINGS.keys() - BUILT_IN - OF_THE_SITE
    )
    for selector in promql.selectors(rule["expr"]):
        if selector.name in promql.METRICS:
            labels = {matcher.name for matcher in selector.matchers.matchers}
            assert labels <= {"job", "instance", *promql.LABELS[selector.name]}


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_names_tell_level_metric_and_operation(name: str) -> None:
    """Names are level:metric:operations, ratios are named so, and a rate drops the counter's `_total`."""
    level, metric, operation = name.split(":")

    assert re.fullmatch(
        r"(gpu|workload|model|node|rack|cluster|facility)(_(workload|state|cause|source|outcome))*", level
    )
    assert re.fullmatch(r"perwatt_[a-z_]+", metric)
    assert not metric.endswith("_total")
    assert re.fullmatch(r"rate5m|ratio_(rate|avg)(5m|1h)|sum|count|max|group", operation)
    assert ("_per_" in metric) == operation.startswith("ratio_")


@pytest.mark.parametrize("name", [name for name in RECORDINGS if ":ratio_" in name])
def test_ratios_are_sums_over_sums(name: str) -> None:
    """
    A ratio divides recorded sums; what it divides by is more than zero.

    It never averages but over time, sums on both sides.
    """
    expression = RECORDINGS[name]["expr"]
    averages = 2 * len(re.findall(":ratio_avg", name))

    assert set() == promql.metric_names(expression) - RECORDINGS.keys() - WITHOUT_RATIO
    assert averages == expression.count("avg_over_time(") == expression.count("avg")
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
    assert description.endswith(".")
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert "{{" in description or alert["expr"].startswith("absent")


def test_the_runbook_has_a_part_for_each_alert() -> None:
    """Each part of the runbook has all four answers."""
    parts = (ROOT / "docs" / "runbook.md").read_text().split("\n## ")[1:]

    assert list(ALERTS) == [part.partition("\n")[0] for part in parts]
    for part in parts:
        for question in ("What it means.", "How to see it.", "What to do.", "When to ignore it."):
            assert re.search(rf"\*\*{question}\*\* .{{20,}}", part), part
