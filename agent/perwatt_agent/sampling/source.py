"""Where readings come from: this machine, sweep by sweep."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.readings import Readings, XidEvent
from perwatt_agent.facts.snapshot import BackendStatus, CollectorHealth
from perwatt_agent.meters.feed import MeterFeed
from perwatt_agent.sampling.driver import STARTING, Driver
from perwatt_agent.sampling.events import EventLane
from perwatt_agent.sampling.gpus import GpuSweeper
from perwatt_agent.sampling.workload_feed import Feed


class Source(Protocol):
    """
    A stream of readings, at its own pace.

    `next` waits until the next sweep is due and returns it, or None when there will be no more. What GPUs
    tell by themselves is told to the subscriber at once, and is in the readings of the next sweep.
    """

    @property
    def status(self) -> BackendStatus: ...

    async def next(self) -> Readings | None: ...

    def subscribe(self, hear: Callable[[XidEvent], None]) -> None: ...

    def close(self) -> None: ...


class HostReader(Protocol):
    """Tells the load of the host, at once."""

    @property
    def health(self) -> Health: ...

    def read(self) -> HostReading: ...


class LiveSource:
    """
    Sweep this machine's GPUs every `interval_seconds`, and collect what its feeds heard and its meters
    measured meanwhile.
    """

    def __init__(
        self,
        driver: Driver,
        sweeper: GpuSweeper,
        feeds: Sequence[Feed],
        clock: Clock,
        interval_seconds: float,
        meters: MeterFeed | None = None,
        host: HostReader | None = None,
    ) -> None:
        self._driver = driver
        self._sweeper = sweeper
        self._feeds = tuple(feeds)
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._meters = meters
        self._host = host
        self._due = clock.monotonic()
        self._running: list[asyncio.Task[None]] = []
        self._events = EventLane(clock)

    @property
    def status(self) -> BackendStatus:
        return self._driver.status

    async def next(self) -> Readings:
        await self._clock.sleep_until(self._due)
        # A sweep that came late does not make the later ones hurry: missed beats are skipped.
        beats = max(1.0, (self._clock.monotonic() - self._due) // self._interval_seconds + 1.0)
        self._due += beats * self._interval_seconds
        readings = await self.sweep()
        # Counts that come before the first joules would belong to joules that nobody knows.
        if not self._running and self._driver.status.reason != STARTING:
            self._running = [asyncio.create_task(feed.run()) for feed in self._feeds]
            if self._meters is not None:
                self._running.append(asyncio.create_task(self._meters.run()))
        return readings

    async def sweep(self) -> Readings:
        """Sweep once, now."""
        gpus = await self._sweeper.sweep()
        known = self._sweeper.known
        generation = self._driver.generation
        self._events.attend(generation.watch if generation else None)
        return Readings(
            monotonic_seconds=self._clock.monotonic(),
            unix_seconds=self._clock.unix(),
            backend=self._driver.status,
            generation=self._driver.generations,
            known=known,
            gpus=gpus,
            engines=tuple(sample for feed in self._feeds for sample in feed.drain(known, gpus)),
            meters=self._meters.drain() if self._meters else (),
            host=self._host.read() if self._host else None,
            collectors=self._collectors(),
            unidentified_gpus=generation.unidentified if generation else 0,
            xids=self._events.drain(),
        )

    def subscribe(self, hear: Callable[[XidEvent], None]) -> None:
        self._events.hear = hear

    def close(self) -> None:
        for task in self._running:
            task.cancel()
        self._sweeper.close()

    def _collectors(self) -> tuple[CollectorHealth, ...]:
        own = [self._driver.health, self._sweeper.health]
        own += [self._events.health] if self._events.in_use else []
        own += [self._host.health] if self._host else []
        feeds = (feed.health() for feed in self._feeds)
        meters = self._meters.health() if self._meters else ()
        return (*(health.snapshot() for health in own), *feeds, *meters)
