"""Event listener: events are reported at once, counted once, and never delay a collection cycle."""

import asyncio
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue

import pytest
from support.gpus.devices import PATIENCE_SECONDS, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import XidEvent
from perwatt_agent.gpu.backend import EventsUnsupported, GenerationEnded, GpuFailure, XidError
from perwatt_agent.sampling.event_listener import (
    EARLY_SECONDS,
    HUNG_SECONDS,
    MAX_EVENTS_PER_CYCLE,
    UNSUPPORTED_RETRY_SECONDS,
    EventListener,
)

Result = XidError | Exception | None
BROKEN = GpuFailure("error", "unknown", "the set failed")


class ScriptedSource:
    """A source whose waits end with the results that the test reports, and otherwise go on."""

    def __init__(self) -> None:
        self._results: SimpleQueue[Result] = SimpleQueue()
        self.waits = 0

    def report(self, *results: Result) -> None:
        for result in results:
            self._results.put(result)

    def wait(self) -> XidError | None:
        self.waits += 1
        result = self._results.get(timeout=PATIENCE_SECONDS)
        if isinstance(result, Exception):
            raise result
        return result


class Listening:
    """A listener to a source, and what it received."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.listener = EventListener(clock)
        self.source = ScriptedSource()
        self.received: list[XidEvent] = []
        self.listener.on_event = self.received.append

    def cycle(self) -> None:
        self.clock.advance(1.0)
        self.listener.update(self.source)

    async def waiting(self, waits: int) -> None:
        await eventually(lambda: self.source.waits == waits)

    @property
    def failures(self) -> dict[str, int]:
        return dict(self.listener.health.snapshot().failures)


@pytest.fixture
def listening(clock: ManualClock) -> Listening:
    return Listening(clock)


async def settled(condition: Callable[[], bool]) -> None:
    await eventually(condition)
    await asyncio.sleep(0)


async def test_reported_at_once(listening: Listening) -> None:
    """Between two cycles every error is reported as it comes, dated by us, and drained once in the next."""
    listening.cycle()
    listening.source.report(XidError("GPU-0", 79), XidError("GPU-1", 13))
    await eventually(lambda: len(listening.received) == 2)
    now, date = listening.clock.monotonic(), listening.clock.unix()

    assert [XidEvent(1, "GPU-0", 79, now, date), XidEvent(2, "GPU-1", 13, now, date)] == listening.received
    assert tuple(listening.received) == listening.listener.drain()
    assert () == listening.listener.drain()
    listening.source.report(None)


async def test_a_quiet_driver(listening: Listening) -> None:
    """A wait that ends after its time is followed by the next at once, without a cycle between."""
    listening.cycle()
    await listening.waiting(1)
    listening.clock.advance(1.0)
    listening.source.report(None)
    await listening.waiting(2)

    assert listening.listener.health.snapshot().success
    listening.source.report(None)


async def test_waits_that_end_early(listening: Listening) -> None:
    """A driver whose waits do not wait, as after a signal, is called once a cycle and not in a busy loop."""
    listening.cycle()
    listening.source.report(*[None] * 5)
    for cycle in range(1, 4):
        await eventually(lambda: listening.listener.health.snapshot().success)
        await asyncio.sleep(0.05)
        assert cycle == listening.source.waits
        listening.cycle()
    assert EARLY_SECONDS < 1.0


async def test_a_storm(listening: Listening) -> None:
    """More errors than one cycle takes wait in the driver for the next one."""
    listening.cycle()
    listening.source.report(*[XidError("GPU-0", 13)] * (2 * MAX_EVENTS_PER_CYCLE))
    await eventually(lambda: len(listening.received) == MAX_EVENTS_PER_CYCLE)
    await asyncio.sleep(0.05)
    assert MAX_EVENTS_PER_CYCLE == len(listening.received)

    listening.listener.drain()
    listening.cycle()
    await eventually(lambda: len(listening.received) == 2 * MAX_EVENTS_PER_CYCLE)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (BROKEN, "unknown"),
        (GenerationEnded("over"), "driver_reloaded"),
        (ZeroDivisionError("surprise"), "unexpected"),
    ],
)
async def test_backs_off(
    listening: Listening, caplog: pytest.LogCaptureFixture, failure: Exception, reason: str
) -> None:
    """Failures are tried again after 1, 2, 4, 8, 16, then 30 s; counted each time, logged once."""
    times = []
    for second in range(100):
        listening.cycle()
        if listening.listener._thread.busy_since is not None:
            times.append(second)
            listening.source.report(failure)
            await settled(lambda: sum(listening.failures.values()) == len(times))
    waits = [later - earlier for earlier, later in pairwise(times)]

    assert [1, 2, 4, 8, 16, 30, 30] == waits
    assert {reason: len(times)} == listening.failures
    assert 1 == sum("GPU error events are not received" in record.getMessage() for record in caplog.records)


async def test_is_well_again(listening: Listening) -> None:
    """After a success the next failure is waited for a second only."""
    listening.cycle()
    listening.source.report(BROKEN)
    await settled(lambda: bool(listening.failures))
    listening.cycle()
    listening.source.report(XidError("GPU-0", 79), BROKEN)
    await settled(lambda: listening.failures == {"unknown": 2})
    listening.cycle()
    await listening.waiting(4)
    listening.source.report(None)


async def test_events_unsupported(listening: Listening) -> None:
    """GPUs without events are no failure, and the next wait starts ten minutes later."""
    listening.cycle()
    listening.source.report(EventsUnsupported("no GPU reports events"))
    await settled(lambda: listening.listener.health.snapshot().success)
    for _ in range(int(UNSUPPORTED_RETRY_SECONDS) - 1):
        listening.cycle()
    assert (1, {}) == (listening.source.waits, listening.failures)

    listening.cycle()
    listening.source.report(XidError("GPU-0", 79), None)
    await settled(lambda: len(listening.received) == 1)
    assert {} == listening.failures


async def test_a_wait_that_never_returns(listening: Listening) -> None:
    """It is reported as hung, takes no second thread, and is over when it returns after all."""
    threads = threading.active_count()
    listening.cycle()
    await listening.waiting(1)
    for _ in range(int(HUNG_SECONDS) + 3):
        listening.cycle()
    assert {"hung"} == set(listening.failures)
    assert (1, threads) == (listening.source.waits, threading.active_count())

    listening.source.report(None)
    await settled(lambda: listening.listener.health.snapshot().success)


async def test_a_new_generation(listening: Listening) -> None:
    """When the old wait ends, the new source is waited for, and the old one no more."""
    listening.cycle()
    old, listening.source = listening.source, ScriptedSource()
    listening.cycle()
    old.report(GenerationEnded("over"))
    await settled(lambda: bool(listening.failures))
    listening.clock.advance(1.0)
    listening.cycle()
    listening.source.report(XidError("GPU-0", 62))
    await eventually(lambda: [62] == [event.code for event in listening.received])
    listening.source.report(None)


def stand_still_until_free(listener: EventListener) -> None:
    """Keep the loop from running meanwhile, as a machine does that has no time for it."""
    while listener._thread.busy_since is not None:
        time.sleep(0.001)


async def test_a_cycle_between_a_wait_and_its_result(listening: Listening) -> None:
    """What a wait has brought is taken before the next begins, however late the loop comes to it."""
    mishaps: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, mishap: mishaps.append(mishap))
    listening.cycle()
    listening.source.report(XidError("GPU-0", 13))
    stand_still_until_free(listening.listener)
    listening.clock.advance(3_600.0)
    listening.cycle()
    assert listening.listener._thread.busy_since is None

    listening.source.report(XidError("GPU-0", 31))
    await eventually(lambda: [13, 31] == [event.code for event in listening.received])
    assert ([], {}) == (mishaps, listening.failures)
    listening.source.report(None)


async def test_no_driver(listening: Listening) -> None:
    """Without a driver there is nothing to wait for."""
    listening.clock.advance(1.0)
    listening.listener.update(None)

    assert (0, False) == (listening.source.waits, listening.listener.is_used)
