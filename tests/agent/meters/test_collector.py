"""Meters are read each at its own pace, and none can hold up another, the loop or the exit."""

import asyncio
import logging
import threading
from collections.abc import Sequence

import pytest
from support.gpus.devices import PATIENCE_SECONDS, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.blocking import ThreadedMeter
from perwatt_agent.meters.collector import RETRY_SECONDS, MeterCollector, MeterPoller
from perwatt_agent.meters.meter import MeterFailure


class Given:
    """A meter that answers 100 W, or fails; `may_return` holds its reads where it is given."""

    def __init__(
        self, clock: ManualClock, name: str = "pdu", interval_seconds: float = 10.0, source: str = "pdu"
    ) -> None:
        self.name, self.interval_seconds = name, interval_seconds
        self.failure: Exception | None = None
        self.reads: list[float] = []
        self.may_return: threading.Event | None = None
        self._clock, self._source = clock, source

    def now(self) -> Sequence[MeterSample]:
        self.reads.append(self._clock.monotonic())
        if self.may_return is not None:
            self.may_return.wait(PATIENCE_SECONDS)
        if self.failure is not None:
            raise self.failure
        return (MeterSample(self._source, self._clock.monotonic(), 100.0),)

    async def read(self) -> Sequence[MeterSample]:
        await asyncio.sleep(0)
        return self.now()


class Blocking(Given):
    """The same meter with reads that may block."""

    def read(self) -> Sequence[MeterSample]:  # type: ignore[override]  # its thread calls it
        return self.now()


async def run_until(collector: MeterCollector, clock: ManualClock, monotonic_seconds: float) -> None:
    """Let the collector work until its clock, which its own waiting moves, has come so far."""
    task = asyncio.create_task(collector.run())
    while clock.monotonic() < monotonic_seconds:  # noqa: ASYNC110 - it is the clock that is waited for
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_pace(clock: ManualClock) -> None:
    """A meter is never asked more often than it is refreshed."""
    meter = Given(clock)
    await run_until(MeterCollector([meter], clock), clock, 1_035.0)

    assert [1_000.0, 1_010.0, 1_020.0, 1_030.0] == meter.reads[:4]


@pytest.mark.parametrize("reason", ["absent", "permission_denied"])
async def test_what_only_an_operator_can_change(clock: ManualClock, reason: str) -> None:
    """Such a meter is asked seldom, and found when it appears."""
    meter = Given(clock)
    meter.failure = MeterFailure(reason, "no")
    collector = MeterCollector([meter], clock)
    await run_until(collector, clock, 1_150.0)
    assert [1_000.0, 1_000.0 + RETRY_SECONDS, 1_000.0 + 2 * RETRY_SECONDS] == meter.reads[:3]
    assert () == collector.drain()

    meter.failure = None
    await run_until(collector, clock, clock.monotonic() + 5.0)
    assert [100.0] == [sample.power_watts for sample in collector.drain()][:1]


async def test_repeated_while_it_stands(clock: ManualClock) -> None:
    """Every reading comes once, and the newest again until it is older than three periods."""
    meter = Given(clock)
    poller = MeterPoller(meter, clock)
    await poller.poll()
    clock.advance(10.0)
    await poller.poll()

    assert [1_000.0, 1_010.0] == [sample.monotonic_seconds for sample in poller.drain()]
    clock.advance(30.0)
    assert [1_010.0] == [sample.monotonic_seconds for sample in poller.drain()]
    clock.advance(0.1)
    assert [] == poller.drain()


async def test_health(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is counted by its reason; the log has its beginning and its end, once."""
    caplog.set_level(logging.INFO)
    meter = Given(clock)
    collector = MeterCollector([meter], clock)
    poller = collector._pollers[0]
    for failure in (
        None,
        MeterFailure("timeout", "slow"),
        MeterFailure("timeout", "slow"),
        ValueError("?"),
        None,
    ):
        meter.failure = failure
        await poller.poll()

    (health,) = collector.health()
    assert ("meter_pdu", True, (("timeout", 2), ("unexpected", 1))) == (
        health.name,
        health.success,
        health.failures,
    )
    fix = "run `perwatt doctor`, or check its entry of meters.list"
    assert [
        f"pdu: no readings (timeout): slow; {fix}",
        f"pdu: no readings (unexpected): ValueError('?'); {fix}",
        "pdu: readings resumed",
    ] == caplog.messages


async def test_names(clock: ManualClock) -> None:
    """Two meters of one source stay apart by their names."""
    meters = [Given(clock, "pdu"), Given(clock, "left-feed"), Given(clock, "right-feed")]
    collector = MeterCollector(meters, clock)
    for poller in collector._pollers:
        await poller.poll()

    assert ["", "left-feed", "right-feed"] == [sample.zone for sample in collector.drain()]


async def test_hung(clock: ManualClock) -> None:
    """A read that does not return blocks neither the loop nor the other meters, and is seen."""
    hung, well = Blocking(clock, "hwmon", source="hwmon"), Given(clock)
    hung.may_return = threading.Event()
    collector = MeterCollector([ThreadedMeter(hung, clock), well], clock, deadline_seconds=0.05)
    first, second = collector._pollers
    await asyncio.gather(first.poll(), second.poll())
    await first.poll()

    assert ["pdu"] == [sample.source for sample in collector.drain()]
    assert (("hung", 1), ("timeout", 1)) == first.health.snapshot().failures
    hung.may_return.set()
    threaded = first._meter
    assert isinstance(threaded, ThreadedMeter)
    await eventually(lambda: threaded._thread.busy_since is None)
    await first.poll()
    assert first.health.snapshot().success
