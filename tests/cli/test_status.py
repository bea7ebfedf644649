"""Status line of `perwatt up`."""

from support.fleet.agents import serving_machine
from support.fleet.fleets import Followed

from perwatt.run.status import status_line


def test_while_the_first_window_fills() -> None:
    """It shows when the first valid figure is expected; with a valid figure, it says valid."""
    fleet = Followed([serving_machine()])
    lines = [status_line(fleet.item())]
    fleet.look()
    for seconds in (15.0, 45.0):
        fleet.run(seconds)
        lines.append(status_line(fleet.item()))

    ends = [line.rpartition("  ")[2] for line in lines]
    assert ["first valid figure in about 60 s", "first valid figure in about 45 s", "valid"] == ends
    assert "over 15 s" in lines[1]


def test_what_waiting_does_not_cure() -> None:
    """A figure that another reason makes invalid says so, with its reasons."""
    machine = serving_machine()
    machine.workloads[0].missing_gpus = 1
    fleet = Followed([machine])
    fleet.look()
    fleet.run(30.0)

    assert "not valid: coverage_low, gpus_missing, window_not_filled" in status_line(fleet.item())
