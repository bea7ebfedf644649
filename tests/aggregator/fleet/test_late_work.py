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
