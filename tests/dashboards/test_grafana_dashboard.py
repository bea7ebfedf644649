"""The Grafana dashboard without a Grafana: fresh, and by the rules that Grafana's own linter checks."""

import re
from typing import Any

import perwatt_dashboard
import promql_parser
import pytest
from support.servers import promql

DASHBOARD = perwatt_dashboard.build()
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [pytest.param(t["expr"], id=f"{p['title']} {t['refId']}") for p in PANELS for t in p["targets"]]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def expand(expression: str) -> str:
    """What Grafana sends with everything chosen."""
    return expression.replace("$__rate_interval", "5m").replace("$job", ".+").replace("$instance", ".+")


def test_the_committed_json_is_fresh() -> None:
    """`python dashboards/grafana/perwatt_dashboard.py` would change nothing."""
    assert perwatt_dashboard.text() == perwatt_dashboard.OUTPUT.read_text()


def test_dashboard_is_read_only_and_fits_any_grafana() -> None:
    """It cannot be edited in place, has a fixed uid, and its data source is the first variable."""
    assert DASHBOARD["editable"] is False
    assert "perwatt" == DASHBOARD["uid"]
    assert ["datasource", "job", "instance"] == list(VARIABLES)
    assert ("datasource", "prometheus") == (VARIABLES["datasource"]["type"], VARIABLES["datasource"]["query"])


@pytest.mark.parametrize("name", ["job", "instance"])
def test_job_and_instance_can_be_chosen(name: str) -> None:
    """Both are labelled, take several values, and All matches every one; refreshed with the time range."""
    variable = VARIABLES[name]

    assert variable["label"]
    assert (True, True, ".+") == (variable["multi"], variable["includeAll"], variable["allValue"])
    assert 2 == variable["refresh"]
    assert DATASOURCE == variable["datasource"]
    assert set(re.findall(r"perwatt_\w+", variable["query"]["query"])) <= promql.METRICS
    assert variable["query"]["query"].endswith(f", {name})")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_explain_themselves(panel: dict[str, Any]) -> None:
    """Every panel has a title, a description, a unit, a target, and the selected data source."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert [DATASOURCE] * (1 + len(panel["targets"])) == [
        asks["datasource"] for asks in (panel, *panel["targets"])
    ]


def test_panels_do_not_overlap() -> None:
    """Each cell of the grid belongs to one panel, and none lies outside of the 24 columns."""
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(cells) == len(set(cells))
    assert 24 == 1 + max(x for x, _ in cells)
    assert len(DASHBOARD["panels"]) == len({panel["id"] for panel in DASHBOARD["panels"]})


@pytest.mark.parametrize("expression", TARGETS)
def test_targets_select_what_was_chosen(expression: str) -> None:
    """Each selector names a metric of the contract and matches the chosen jobs and instances."""
    for selector in promql.selectors(expand(expression)):
        matchers = {(m.name, str(m.op), m.value) for m in selector.matchers.matchers}

        assert selector.name in promql.METRICS
        assert {name for name, _, _ in matchers} <= {"job", "instance", *promql.LABELS[selector.name]}
        assert {("job", "MatchOp.Re", ".+"), ("instance", "MatchOp.Re", ".+")} <= matchers
    assert len(promql.selectors(expand(expression))) == expression.count('job=~"$job", instance=~"$instance"')


@pytest.mark.parametrize("expression", TARGETS)
def test_counters_are_seen_through_their_rate(expression: str) -> None:
    """A counter stands in rate or increase over $__rate_interval, and nothing but a counter does."""
    tree = promql.nodes(expand(expression))
    ranges = [node.vector_selector.name for node in tree if isinstance(node, promql_parser.MatrixSelector)]
    calls = [node.func.name for node in tree if isinstance(node, promql_parser.Call)]
    counters = [s.name for s in promql.selectors(expand(expression)) if (s.name or "").endswith("_total")]

    assert counters == ranges
    assert len(ranges) == calls.count("rate") + calls.count("increase")
    assert re.findall(r"\[[^]]*\]", expression) == ["[$__rate_interval]"] * len(ranges)


@pytest.mark.parametrize("expression", TARGETS)
def test_ratios_are_sums_over_sums(expression: str) -> None:
    """Nothing is averaged, and what a target divides by is more than zero: no NaN, no Inf."""
    assert "avg" not in expression
    assert expression.count(" / ") == expression.count(" > 0)")
