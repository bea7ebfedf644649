"""The aggregator over a simulated fleet: its figures against the fleet's truth."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from perwatt.simulate.events import PlannedEvent
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import START_UNIX_SECONDS as START
from perwatt.simulate.plan import FleetPlan, steady_plan
from perwatt.simulate.truth import TruthItem, truth
from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.schema.common import Boundary, Dimension
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.targets.config import agents_at
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.family import Family

pytestmark = pytest.mark.slow

INTERVAL_SECONDS = 5.0

pytestmark = pytest.mark.slow


class Watched:
    """An aggregator that reads the pages of a fleet, with one clock for both."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.clock = ManualClock(unix_seconds=START + 1.0)
        urls = tuple(f"http://{node.identity.name}:9836/metrics" for node in fleet.nodes)
        self.aggregator = Aggregator(AggregatorConfig(agents_at(*urls), INTERVAL_SECONDS), self.clock)
        self.readers = [PageReader() for _ in fleet.nodes]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / INTERVAL_SECONDS)):
            self.clock.advance(INTERVAL_SECONDS)
            for number, agent in enumerate(self.aggregator.nodes):
                body = self.fleet.page(number, self.clock.unix())
                if body is None:
                    agent.fail("unreachable")
                else:
                    sample = self.readers[number].read(body, self.clock.monotonic())
                    agent.add(sample, self.clock.unix())

    def items(self, seconds: float, *by: Dimension, boundary: Boundary) -> Sequence[EfficiencyItem]:
        return self.aggregator.efficiency(seconds, by, (boundary,)).items

    def truth(self, seconds: float, by: str) -> dict[str, TruthItem]:
        now = self.clock.unix()
        items = truth(self.fleet, now - seconds, now, (by,)).items  # type: ignore[arg-type]
        return {item.group[by]: item for item in items if item.group[by]}


@pytest.fixture(scope="module")
def steady() -> Watched:
    watched = Watched(Fleet(steady_plan(5)))
    watched.run(420.0)
    return watched


class TestSteadyFleet:
    def test_by_model(self, steady: Watched) -> None:
        """Tokens per joule of the boards, by model, are the truth within 1 %."""
        found = {one.group["model"]: one for one in steady.items(300.0, "model", boundary="gpu_board")}
        true = steady.truth(300.0, "model")

        assert true.keys() <= found.keys()
        for model, item in true.items():
            expected = item.output_tokens / item.gpu_board_joules
            assert expected == pytest.approx(found[model].tokens_per_joule, rel=0.01), model
            assert found[model].valid, found[model].reasons

    def test_by_node(self, steady: Watched) -> None:
        """Power of boards and of nodes at the wall is the truth within 1 %, node by node."""
        for boundary in ("gpu_board", "node"):
            found = {one.group["node"]: one for one in steady.items(300.0, "node", boundary=boundary)}  # type: ignore[arg-type]
            for node, item in steady.truth(300.0, "node").items():
                joules = item.gpu_board_joules if boundary == "gpu_board" else item.node_joules
                power = found[f"{node}:9836"].power_watts
                assert joules / 300.0 == pytest.approx(power, rel=0.01), (boundary, node)


def test_every_series_is_the_exporters() -> None:
    """Names and labels of all series on simulated pages are those of the exporter's families."""
    known = {series: family for family in ALL for series in _series(family)}
    fleet = Fleet(FleetPlan(nodes=4, day_seconds=3_600.0, rates_factor=20.0))

    for unix in (START + 60.0, START + 4_000.0, START + 8_000.0):
        for number in range(4):
            for line in (fleet.page(number, unix) or b"").decode().splitlines():
                if not line.startswith("#"):
                    name = line.partition(" ")[0].partition("{")[0]
                    assert name in known, name


def _series(family: Family[Any]) -> list[str]:
    return (
        [family.name]
        if family.kind != "histogram"
        else [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
    )


def test_faults_leave_no_wrong_valid_figure() -> None:
    """Restarts, replacements, a reboot and a lost GPU: a figure that is called valid is near the truth."""
    events = (
        PlannedEvent(START + 200.0, "engine_restart", 0, 0, seconds=20.0),
        PlannedEvent(START + 220.0, "replace", 1, 0),
        PlannedEvent(START + 240.0, "reboot", 2, seconds=60.0),
        PlannedEvent(START + 260.0, "gpu_lost", 3, 0, 0, seconds=7_200.0),
        PlannedEvent(START + 280.0, "agent_restart", 4, seconds=15.0),
    )
    watched = Watched(Fleet(steady_plan(5, 8, 1, *events)))
    valid, wrong = 0, Counter[str]()
    for _ in range(8):
        watched.run(60.0)
        found = {one.group["model"]: one for one in watched.items(60.0, "model", boundary="gpu_board")}
        for model, item in watched.truth(60.0, "model").items():
            one = found.get(model)
            if one is not None and one.valid and one.tokens_per_joule is not None:
                valid += 1
                expected = item.output_tokens / item.gpu_board_joules
                wrong[model] += abs(one.tokens_per_joule / expected - 1.0) > 0.06

    assert valid > 0
    assert 0 == sum(wrong.values()), wrong
