"""Whatever a driver's events do: they are told at once, counted once, and never hold up a sweep."""

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
from perwatt_agent.gpu.backend import GenerationEnded, GpuFailure, NothingToHear, XidError
from perwatt_agent.sampling.events import EARLY_SECONDS, HUNG_SECONDS, MAX_EVENTS_A_SWEEP, EventLane

Word = XidError | Exception | None
BROKEN = GpuFailure("error", "unknown", "the set failed")


class ScriptedWatch:
    """Waits end as the test says, one word after another; without a word they go on."""

    def __init__(self) -> None:
        self._words: SimpleQueue[Word] = SimpleQueue()
        self.waits = 0

    def say(self, *words: Word) -> None:
        for word in words:
            self._words.put(word)

    def wait(self) -> XidError | None:
        self.waits += 1
        word = self._words.get(timeout=PATIENCE_SECONDS)
        if isinstance(word, Exception):
            raise word
        return word


class Ear:
    """A lane that listens to a watch, and what it was told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.lane = EventLane(clock)
        self.watch = ScriptedWatch()
        self.told: list[XidEvent] = []
        self.lane.hear = self.told.append

    def sweep(self) -> None:
        self.clock.advance(1.0)
        self.lane.attend(self.watch)

    async def waiting(self, waits: int) -> None:
        await eventually(lambda: self.watch.waits == waits)

    @property
    def failures(self) -> dict[str, int]:
        return dict(self.lane.health.snapshot().failures)


@pytest.fixture
def ear(clock: ManualClock) -> Ear:
    return Ear(clock)


async def settled(condition: Callable[[], bool]) -> None:
    await eventually(condition)
    await asyncio.sleep(0)


async def test_told_at_once(ear: Ear) -> None:
    """Between two sweeps every error is told as it comes, dated by us, and drained once with the next."""
    ear.sweep()
    ear.watch.say(XidError("GPU-0", 79), XidError("GPU-1", 13))
    await eventually(lambda: len(ear.told) == 2)
    now, date = ear.clock.monotonic(), ear.clock.unix()

    assert [XidEvent(1, "GPU-0", 79, now, date), XidEvent(2, "GPU-1", 13, now, date)] == ear.told
    assert tuple(ear.told) == ear.lane.drain()
    assert () == ear.lane.drain()
    ear.watch.say(None)


async def test_a_quiet_driver(ear: Ear) -> None:
    """A wait that ends after its time is followed by the next at once, without a sweep between."""
    ear.sweep()
    await ear.waiting(1)
    ear.clock.advance(1.0)
    ear.watch.say(None)
    await ear.waiting(2)

    assert ear.lane.health.snapshot().success
    ear.watch.say(None)


async def test_waits_that_end_early(ear: Ear) -> None:
    """A driver whose waits do not wait, as after a signal, is asked once a sweep and not in a circle."""
    ear.sweep()
    ear.watch.say(*[None] * 5)
    for sweep in range(1, 4):
        await eventually(lambda: ear.lane.health.snapshot().success)
        await asyncio.sleep(0.05)
        assert sweep == ear.watch.waits
        ear.sweep()
    assert EARLY_SECONDS < 1.0


async def test_a_storm(ear: Ear) -> None:
    """More errors than a sweep can bear wait in the driver for the next one."""
    ear.sweep()
    ear.watch.say(*[XidError("GPU-0", 13)] * (2 * MAX_EVENTS_A_SWEEP))
    await eventually(lambda: len(ear.told) == MAX_EVENTS_A_SWEEP)
    await asyncio.sleep(0.05)
    assert MAX_EVENTS_A_SWEEP == len(ear.told)

    ear.lane.drain()
    ear.sweep()
    await eventually(lambda: len(ear.told) == 2 * MAX_EVENTS_A_SWEEP)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (BROKEN, "unknown"),
        (GenerationEnded("over"), "driver_reloaded"),
        (ZeroDivisionError("surprise"), "unexpected"),
    ],
)
async def test_backs_off(ear: Ear, caplog: pytest.LogCaptureFixture, failure: Exception, reason: str) -> None:
    """Failures are tried again after 1, 2, 4, 8, 16, then 30 s; counted each time, logged once."""
    times = []
    for second in range(100):
        ear.sweep()
        if ear.lane._lane.busy_since is not None:
            times.append(second)
            ear.watch.say(failure)
            await settled(lambda: sum(ear.failures.values()) == len(times))
    waits = [later - earlier for earlier, later in pairwise(times)]

    assert [1, 2, 4, 8, 16, 30, 30] == waits
    assert {reason: len(times)} == ear.failures
    assert 1 == sum("XID errors are not heard" in record.getMessage() for record in caplog.records)


async def test_is_well_again(ear: Ear) -> None:
    """After a success the next failure is waited for a second only."""
    ear.sweep()
    ear.watch.say(BROKEN)
    await settled(lambda: bool(ear.failures))
    ear.sweep()
    ear.watch.say(XidError("GPU-0", 79), BROKEN)
    await settled(lambda: ear.failures == {"unknown": 2})
    ear.sweep()
    await ear.waiting(4)
    ear.watch.say(None)


async def test_nothing_to_hear(ear: Ear) -> None:
    """GPUs that never tell are not asked again in their generation, and that is no failure."""
    ear.sweep()
    ear.watch.say(NothingToHear("no GPU tells"))
    await settled(lambda: ear.lane.health.snapshot().success)
    for _ in range(100):
        ear.sweep()

    assert (1, {}) == (ear.watch.waits, ear.failures)


async def test_a_wait_that_never_returns(ear: Ear) -> None:
    """It is told as hung, takes no second thread, and is over when it returns after all."""
    threads = threading.active_count()
    ear.sweep()
    await ear.waiting(1)
    for _ in range(int(HUNG_SECONDS) + 3):
        ear.sweep()
    assert {"hung"} == set(ear.failures)
    assert (1, threads) == (ear.watch.waits, threading.active_count())

    ear.watch.say(None)
    await settled(lambda: ear.lane.health.snapshot().success)


async def test_a_new_generation(ear: Ear) -> None:
    """Once the old wait is over the new watch is listened to, and nothing of the old one is waited for."""
    ear.sweep()
    old, ear.watch = ear.watch, ScriptedWatch()
    ear.sweep()
    old.say(GenerationEnded("over"))
    await settled(lambda: bool(ear.failures))
    ear.clock.advance(1.0)
    ear.sweep()
    ear.watch.say(XidError("GPU-0", 62))
    await eventually(lambda: [62] == [event.code for event in ear.told])
    ear.watch.say(None)


def stand_still_until_free(lane: EventLane) -> None:
    """Keep the loop from running meanwhile, as a machine does that has no time for it."""
    while lane._lane.busy_since is not None:
        time.sleep(0.001)


async def test_a_sweep_between_a_wait_and_its_word(ear: Ear) -> None:
    """What a wait has brought is taken before the next begins, however late the loop comes to it."""
    mishaps: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, mishap: mishaps.append(mishap))
    ear.sweep()
    ear.watch.say(XidError("GPU-0", 13))
    stand_still_until_free(ear.lane)
    ear.clock.advance(3_600.0)
    ear.sweep()
    assert ear.lane._lane.busy_since is None

    ear.watch.say(XidError("GPU-0", 31))
    await eventually(lambda: [13, 31] == [event.code for event in ear.told])
    assert ([], {}) == (mishaps, ear.failures)
    ear.watch.say(None)


async def test_no_driver(ear: Ear) -> None:
    """Without a driver there is nothing to wait for."""
    ear.clock.advance(1.0)
    ear.lane.attend(None)

    assert (0, False) == (ear.watch.waits, ear.lane.in_use)
