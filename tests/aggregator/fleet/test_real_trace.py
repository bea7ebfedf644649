"""
A real wall trace (8 x H200, MLPerf v4.1) through agent and aggregator: how far windows err, and what is said.

The boards are made up: three fifths of the wall, by a counter. So what errs is the meter at the wall alone.
"""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from support.accounts.readings import At, sweep
from support.fleet.fleets import BARE
from support.meters.real_trace import Trace

from perwatt_agent.accounting.account import Account
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_aggregator.answers.efficiency import efficiency
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.targets.target import Target

pytestmark = pytest.mark.slow

SCRAPE_SECONDS = 5
BOARD_SHARE = 0.6
MINUTE = 60.0
QUALIFYING = {"too_few_meter_refreshes", "coverage_low", "node_meter_below_boards", "source_changed"}


def snapshots(trace: Trace, period: int) -> Iterator[Snapshot]:
    """An agent whose meter is refreshed every *period* seconds, a sweep a row."""
    account, joules, before = Account(1.0), 5_000.0, trace.rows[0]
    newest: MeterSample | None = None
    for number, (t, watts) in enumerate(trace.rows):
        joules += BOARD_SHARE * (watts + before[1]) / 2 * (t - before[0])
        before = (t, watts)
        if number % period == 0:
            newest = MeterSample("pdu", t, watts, period_seconds=float(period))
        assert newest is not None
        boards = {0: At(joules, BOARD_SHARE * watts)}
        yield replace(account.advance(sweep(t, boards, meters=[newest])), unix_seconds=t)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace()


Look = tuple[EfficiencyItem, float]
"""The answer at the node, and its error against the trace over the same window."""


def looks(trace: Trace, period: int, window_seconds: float, begin: float, end: float) -> Iterator[Look]:
    """What an aggregator answers again and again while windows end between two instants."""
    node = Node(Target("node", ""), NodeRing(900.0, float(SCRAPE_SECONDS)), BARE)
    for number, snapshot in enumerate(snapshots(trace, period)):
        if number % SCRAPE_SECONDS:
            continue
        at = snapshot.monotonic_seconds
        node.add(sample_of_snapshot(snapshot), at)
        window = node.window(window_seconds, at)
        if window is None or not window.filled or not begin <= at <= end:
            continue
        (item,) = efficiency([node.view(window_seconds, at)], (), ("node",))
        assert item.energy_joules is not None
        yield item, item.energy_joules / trace.joules(window.start_unix, window.end_unix) - 1.0


@pytest.mark.parametrize(
    ("period", "window_seconds", "worst", "enough"),
    [
        (1, MINUTE, 1e-4, True),
        (1, 5 * MINUTE, 1e-4, True),
        (1, 15 * MINUTE, 1e-4, True),
        (4, 75.0, 1e-3, True),
        (15, MINUTE, 3e-3, False),
        (15, 200.0, 1e-3, True),
        (15, 5 * MINUTE, 1e-3, True),
        (15, 15 * MINUTE, 1e-3, True),
        (60, MINUTE, 1e-2, False),
        (60, 5 * MINUTE, 5e-3, False),
        (60, 640.0, 1e-3, True),
        (60, 15 * MINUTE, 1e-3, True),
    ],
)
def test_in_the_run(trace: Trace, period: int, window_seconds: float, worst: float, enough: bool) -> None:
    """
    Within the run every window errs by little, wherever the meter's refreshes fall in it, and by less than
    its uncertainty says; one of fewer than ten refreshes is not valid, and says so.
    """
    begin = trace.begin + window_seconds + 2 * period
    answers = list(looks(trace, period, window_seconds, begin, trace.end))
    expected = set() if enough else {"too_few_meter_refreshes"}

    assert len(answers) > 5
    assert worst > max(abs(error) for _, error in answers)
    assert all(abs(error) < (item.relative_uncertainty or 0.0) for item, error in answers)
    assert all(expected == QUALIFYING & set(item.reasons) for item, _ in answers)
    assert all(item.coverage_ratio >= 0.95 for item, _ in answers)


@pytest.mark.parametrize(("period", "worst"), [(1, 1e-3), (15, 0.01), (60, 0.03)])
def test_over_the_edge(trace: Trace, period: int, worst: float) -> None:
    """
    A window of 15 minutes over the beginning of the run, where power doubles, is right of what it spans; a
    slow meter errs by the edge that it missed, within twice its standard uncertainty.
    """
    answers = list(looks(trace, period, 15 * MINUTE, trace.begin + 900.0, trace.begin + 980.0))

    assert answers
    assert worst > max(abs(error) for _, error in answers)
    assert all(abs(error) < 2 * (item.relative_uncertainty or 0.0) for item, error in answers)


def test_a_window_is_not_the_run(trace: Trace) -> None:
    """Idle before the run makes the window's mean lower than the run's; its length and instants tell why."""
    (first, _), *_ = looks(trace, 1, 15 * MINUTE, trace.begin + 850.0, trace.end)
    run_watts = trace.joules(trace.begin, trace.end) / (trace.end - trace.begin)

    assert first.window is not None
    assert first.power_watts is not None
    assert -0.03 == pytest.approx(first.power_watts / run_watts - 1.0, abs=0.01)
