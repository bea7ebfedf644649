"""Source of readings: this machine, one collection cycle after another."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.readings import Readings, XidEvent
from perwatt_agent.facts.snapshot import BackendStatus, CollectorHealth
from perwatt_agent.meters.collector import MeterCollector
from perwatt_agent.sampling.driver import STARTING, Driver
from perwatt_agent.sampling.event_listener import EventListener
from perwatt_agent.sampling.gpus import GpuCollector
from perwatt_agent.sampling.workload_collector import WorkloadCollector


class Source(Protocol):
    """
    A stream of readings, at its own pace.

    `next` waits until the next collection cycle is due and returns its readings, or None at the end. The
    subscriber receives GPU error events at once; they are in the readings of the next cycle as well.
    """

    @property
    def status(self) -> BackendStatus: ...

    async def next(self) -> Readings | None: ...

    def subscribe(self, on_event: Callable[[XidEvent], None]) -> None: ...

    def close(self) -> None: ...


class HostReader(Protocol):
    """Reads the load of the host, without blocking."""

    @property
    def health(self) -> Health: ...

    def read(self) -> HostReading: ...


class LiveSource:
    """
    Collects from this machine's GPUs every `interval_seconds`, with what its workload collectors and its
    meters received meanwhile.
    """

    def __init__(
        self,
        driver: Driver,
        gpus: GpuCollector,
        workloads: Sequence[WorkloadCollector],
        clock: Clock,
        interval_seconds: float,
        meters: MeterCollector | None = None,
        host: HostReader | None = None,
    ) -> None:
        self._driver = driver
        self._gpus = gpus
        self._workloads = tuple(workloads)
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._meters = meters
        self._host = host
        self._due = clock.monotonic()
        self._running: list[asyncio.Task[None]] = []
        self._events = EventListener(clock)

    @property
    def status(self) -> BackendStatus:
        return self._driver.status

    async def next(self) -> Readings:
        await self._clock.sleep_until(self._due)
        # After a late cycle the missed ones are skipped, not made up for.
        intervals = max(1.0, (self._clock.monotonic() - self._due) // self._interval_seconds + 1.0)
        self._due += intervals * self._interval_seconds
        readings = await self.collect()
        # Counts before the first joules would have no joules to be divided by.
        if not self._running and self._driver.status.reason != STARTING:
            self._running = [asyncio.create_task(collector.run()) for collector in self._workloads]
            if self._meters is not None:
                self._running.append(asyncio.create_task(self._meters.run()))
        return readings

    async def collect(self) -> Readings:
        """One collection cycle, now."""
        gpus = await self._gpus.collect()
        known = self._gpus.known
        generation = self._driver.generation
        self._events.update(generation.events if generation else None)
        return Readings(
            monotonic_seconds=self._clock.monotonic(),
            unix_seconds=self._clock.unix(),
            backend=self._driver.status,
            generation=self._driver.generations,
            known=known,
            gpus=gpus,
            engines=tuple(sample for one in self._workloads for sample in one.drain(known, gpus)),
            meters=self._meters.drain() if self._meters else (),
            host=self._host.read() if self._host else None,
            collectors=self._collectors(),
            unidentified_gpus=self._gpus.unidentified,
            xids=self._events.drain(),
        )

    def subscribe(self, on_event: Callable[[XidEvent], None]) -> None:
        self._events.on_event = on_event

    def close(self) -> None:
        for task in self._running:
            task.cancel()
        self._gpus.close()

    def _collectors(self) -> tuple[CollectorHealth, ...]:
        own = [self._driver.health, self._gpus.health]
        own += [self._events.health] if self._events.is_used else []
        own += [self._host.health] if self._host else []
        workloads = (collector.health() for collector in self._workloads)
        meters = self._meters.health() if self._meters else ()
        return (*(health.snapshot() for health in own), *workloads, *meters)
