"""A node whose clock is wrong: its windows are those of the others, and its figures stay right."""

import logging
from datetime import datetime, timezone

import pytest
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import BARE, Followed


def machine(number: int, offset_seconds: float) -> Machine:
    """A node whose clock is so much ahead."""
    uuid = f"GPU-{number}"
    found = Machine([Gpu(uuid)], [Workload(f"chat-{number}", joules={uuid: [0.0, 0.0, 0.0]})])
    found.unix += offset_seconds
    return found


@pytest.mark.parametrize("offset_seconds", [3_600.0, -3_600.0, 86_400.0, 6.0])
def test_an_hour_off(offset_seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    """The fleet's window ends now, it is valid, and the log names the node once."""
    right, wrong = Followed([machine(0, 0.0), machine(1, 0.0)], BARE), None
    with caplog.at_level(logging.WARNING):
        right.run(90.0)
        wrong = Followed([machine(0, 0.0), machine(1, offset_seconds)], BARE)
        wrong.run(90.0)
    item, expected = wrong.item(), right.item()

    assert item.window is not None
    end = datetime.fromisoformat(item.window.end.replace("Z", "+00:00")).astimezone(timezone.utc)
    assert abs(end.timestamp() - wrong.clock.unix()) < 1.0
    assert (True, expected.tokens_per_joule) == (item.valid, pytest.approx(item.tokens_per_joule))
    assert ["the clock of node1:9836 differs"] == [message[:31] for message in caplog.messages]


def test_it_is_set_right() -> None:
    """When the clock is set right, nothing is lost."""
    fleet = Followed([machine(0, 3_600.0)], BARE)
    fleet.run(60.0)
    fleet.machines[0].unix -= 3_600.0
    fleet.run(30.0)

    assert fleet.item().valid


def test_a_little_off(caplog: pytest.LogCaptureFixture) -> None:
    """Seconds are nothing to speak of."""
    with caplog.at_level(logging.WARNING):
        fleet = Followed([machine(0, 3.0)], BARE)
        fleet.run(90.0)

    assert fleet.item().valid
    assert [] == caplog.messages
