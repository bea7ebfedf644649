"""IT energy of the nodes' own meters: for any timing of refreshes and samples, and any source."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.meter import MeterFailure
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.facility.pue_energies import NODES_SECONDS, NodesEnergy
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.sample import NODE_COVERED, NODE_ENERGY, Counter, NodeSample
from perwatt_aggregator.targets.target import Target

WATTS = 1000.0
PERIOD_SECONDS = 86_400.0
SCRAPE_SECONDS = 5.0


def sample(at: float, covered: float | None, source: str = "ipmi", period: float = 5.0) -> NodeSample:
    """A page on which the meter has covered so many seconds at 1000 W; None is one without a meter."""
    counters = {}
    if covered is not None:
        counters = {
            Counter(NODE_ENERGY, part=source): WATTS * covered,
            Counter(NODE_COVERED, part=source): covered,
        }
    return NodeSample(at, at, "nvml", True, {}, {}, {}, counters, {source: period})


class Follower:
    """The IT energy of one node; `look` shows it a page."""

    def __init__(self) -> None:
        self._node = Node(Target("node", ""), NodeRing(900.0, SCRAPE_SECONDS), FacilityConfig())
        self.energy = NodesEnergy("it", [self._node], PERIOD_SECONDS, ManualClock())

    async def look(self, page: NodeSample) -> str:
        """Why not all of IT is measured, or nothing."""
        self._node.add(page, page.unix_seconds)
        try:
            await self.energy.read()
        except MeterFailure as failure:
            return failure.reason
        return ""

    @property
    def covered_seconds(self) -> float:
        return self.energy.histories[0].joules_total / WATTS


async def follow(refreshes: list[float], period: float, looks: list[float]) -> Follower:
    """Look at a node at these instants, whose meter was refreshed at those and bridges three periods."""
    follower = Follower()
    for at in looks:
        page = at - at % SCRAPE_SECONDS
        known = [refresh for refresh in refreshes if refresh <= page]
        steps = pairwise(known)
        covered = sum(later - earlier for earlier, later in steps if later - earlier <= 3.0 * period)
        await follower.look(sample(page, covered if known else None, period=period))
    return follower


def regular(period: float, phase: float, late: list[float], seconds: float) -> list[float]:
    """Refreshes a period apart, each delayed by the next value of *late*."""
    count = int(seconds / period)
    return [phase + place * period + late[place % len(late)] for place in range(count)]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    period=st.sampled_from([1.0, 4.0, 5.0, 7.0, 10.0, 15.0, 30.0, 60.0]),
    phase=st.floats(0.0, 1.0),
    late=st.lists(st.floats(0.0, 0.3), min_size=1, max_size=7),
    drift=st.floats(0.0, 0.05),
)
async def test_refreshes_and_looks(period: float, phase: float, late: list[float], drift: float) -> None:
    """Constant power is found, and covered except for the ends, for any two intervals."""
    spacing = NODES_SECONDS + drift
    looks = [place * spacing for place in range(180)]
    follower = await follow(regular(period, phase * period, late, looks[-1]), period, looks)

    assert looks[-1] - 3.0 * (period + spacing) <= follower.covered_seconds <= looks[-1]


async def test_much_is_missing() -> None:
    """A meter that is silent for most of the time is not made up for."""
    refreshes = regular(5.0, 0.0, [0.0], 1800.0)
    follower = await follow(refreshes[::5], 5.0, [NODES_SECONDS * place for place in range(180)])

    assert 0.0 == follower.covered_seconds


async def test_a_meter_that_comes_later() -> None:
    """A first page without a meter, or a meter that is away for a while, ends nothing."""
    follower = Follower()
    failures = [
        await follower.look(sample(10.0 * place, 10.0 * place if 3 <= place < 10 or place >= 20 else None))
        for place in range(30)
    ]

    assert ["absent"] * 3 + [""] * 7 + ["absent"] * 10 + [""] * 10 == failures
    assert 60.0 + 90.0 == pytest.approx(follower.covered_seconds)


async def test_another_source() -> None:
    """What a source counted before it spoke is not of this time."""
    follower = Follower()
    for place in range(10):
        await follower.look(sample(10.0 * place, 10.0 * place))
    for place in range(10, 20):
        await follower.look(sample(10.0 * place, 50_000.0 + 10.0 * place, source="redfish"))

    assert 90.0 + 90.0 == pytest.approx(follower.covered_seconds)
