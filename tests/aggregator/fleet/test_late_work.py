"""Work whose page came late counts from before the window: right alone, and not beside other work."""

from copy import deepcopy

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
