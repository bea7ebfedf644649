"""Work whose page came late counts from before the window: right alone, and not beside other work."""

from copy import deepcopy

import pytest
from support.fleet.agents import Machine, serving_machine
from support.fleet.fleets import Followed


def run(fleet: Followed, machine: Machine, seconds: float, *, is_late: bool = False) -> None:
    """Let both engines serve; while it *is_late*, the page of the first one stays as it is."""
    before = deepcopy(machine.workloads[0])
    for _ in range(int(seconds / 5.0)):
        machine.run(5.0)
        fleet.clock.advance(5.0)
        first = machine.workloads[0]
        machine.workloads[0] = before if is_late else first
        fleet.look()
        machine.workloads[0] = first


def test_a_late_page() -> None:
    """In the minute after it came, its node's figure is not valid, its own is; then both are."""
    machine = serving_machine(2, workloads=2)
    fleet = Followed([machine])
    fleet.look()
    run(fleet, machine, 60.0)
    run(fleet, machine, 40.0, is_late=True)
    run(fleet, machine, 45.0)
    node, own = fleet.item("node"), fleet.items("workload")

    assert (False, ("spans_differ",)) == (node.valid, node.reasons)
    assert [True, True] == [item.valid for item in own]
    run(fleet, machine, 20.0)
    assert fleet.item("node").valid


def test_a_late_page_covered_in_part() -> None:
    """
    A late page whose joules cover 5 of 40 s: its tokens are left out, and joules of the other GPU are not.

    The 60 s of the window alone would be covered; with the 25 s before it, half of the time is not.
    """
    machine = serving_machine(2)
    machine.workloads[0].take("GPU-1", active=100.0)
    fleet = Followed([machine])
    fleet.look()
    run(fleet, machine, 60.0)
    run(fleet, machine, 40.0, is_late=True)
    first = machine.workloads[0]
    first.covered_seconds -= 40.0
    first.joules["GPU-1"][0] -= 40.0 * 300.0
    run(fleet, machine, 45.0)
    item = fleet.item("workload")

    assert item.window is not None
    assert 85.0 == item.window.seconds
    assert (pytest.approx((45.0 + 5.0) / 85.0), False) == (item.coverage_ratio, item.valid)
    assert ("coverage_low", "tokens_uncovered") == item.reasons


def test_shorter_than_a_gap() -> None:
    """A wait of two intervals counts too: only the phase of one step is that of two clocks."""
    machine = serving_machine(2, workloads=2)
    fleet = Followed([machine])
    fleet.look()
    run(fleet, machine, 60.0)
    run(fleet, machine, 15.0, is_late=True)
    run(fleet, machine, 45.0)
    node = fleet.item("node", seconds=45.0)

    assert (False, ("spans_differ",)) == (node.valid, node.reasons)


def test_small_share() -> None:
    """Below 2 % the figure is valid, and less certain by that share."""
    late, calm = (_at_the_return(serving_machine(40, workloads=40), is_late=late) for late in (True, False))

    assert ((), ()) == (late[1], calm[1])
    assert late[0] > calm[0]


def test_alone() -> None:
    """Work that is alone on its node is right over its own time."""
    late, calm = (_at_the_return(serving_machine(1), is_late=late) for late in (True, False))

    assert ((), ()) == (late[1], calm[1])
    assert calm[0] == pytest.approx(late[0], rel=0.01)


def _at_the_return(machine: Machine, *, is_late: bool) -> tuple[float, tuple[str, ...]]:
    """Uncertainty and reasons of the node's figure in a window that begins before the page's return."""
    fleet = Followed([machine])
    fleet.look()
    run(fleet, machine, 60.0)
    run(fleet, machine, 30.0, is_late=is_late)
    run(fleet, machine, 45.0)
    item = fleet.item("node", seconds=60.0)
    assert item.relative_uncertainty is not None
    return item.relative_uncertainty, item.reasons


@pytest.mark.parametrize("step", [1, 3])
def test_engines_that_are_read_seldom(step: int) -> None:
    """An engine that is read every third time is not late: its steps are as long at both ends."""
    machine = serving_machine(2, workloads=2)
    fleet = Followed([machine])
    fleet.look()
    valid = []
    for _ in range(20):
        run(fleet, machine, 5.0 * (step - 1), is_late=True)
        run(fleet, machine, 5.0)
        valid.append(fleet.item("node").reasons)

    assert {()} == set(valid[-4:])


@pytest.mark.parametrize("interval", [5.0, 15.0])
def test_tokens_before_a_restart(interval: float) -> None:
    """What an engine made after its last reading is lost, and the figure is uncertain by as much."""
    machine = serving_machine(1, workloads=1)
    fleet = Followed([machine], interval_seconds=interval)
    fleet.look()
    for _ in range(14):
        machine.run(interval)
        fleet.clock.advance(interval)
        fleet.look()
    machine.run(interval - 1.0)
    (workload,) = machine.workloads
    workload.output = workload.computed = workload.cached = workload.effective = workload.ok = 0.0
    machine.run(1.0)
    fleet.clock.advance(interval)
    fleet.look()
    item = fleet.item()
    right = 100.0 / 300.0
    off = abs((item.tokens_per_joule or 0.0) - right) / right

    assert "counter_reset" in item.reasons
    assert item.valid
    assert (interval - 1.0) / 60.0 == pytest.approx(off)
    assert off <= 3.0 * (item.relative_uncertainty or 0.0) + 0.02
