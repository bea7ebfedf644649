"""Where readings come from: this machine, sweep by sweep."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_agent.engine.endpoints import EndpointPoller
from perwatt_agent.readings import Readings
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpus import GpuSweeper
from perwatt_agent.snapshot import BackendStatus, CollectorHealth


class Source(Protocol):
    """
    A stream of readings, at its own pace.

    `next` waits until the next sweep is due and returns it, or None when there will be no more.
    """

    @property
    def status(self) -> BackendStatus: ...

    async def next(self) -> Readings | None: ...

    def close(self) -> None: ...


class LiveSource:
    """Sweep this machine's GPUs every `interval_seconds` and collect what its engines said meanwhile."""

    def __init__(
        self,
        driver: Driver,
        sweeper: GpuSweeper,
        pollers: Sequence[EndpointPoller],
        clock: Clock,
        interval_seconds: float,
    ) -> None:
        self._driver = driver
        self._sweeper = sweeper
        self._pollers = tuple(pollers)
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._due = clock.monotonic()
        self._polling: list[asyncio.Task[None]] = []

    @property
    def status(self) -> BackendStatus:
        return self._driver.status

    async def next(self) -> Readings:
        if not self._polling:
            self._polling = [asyncio.create_task(poller.run()) for poller in self._pollers]
        await self._clock.sleep_until(self._due)
        # A sweep that came late does not make the later ones hurry: missed beats are skipped.
        beats = max(1.0, (self._clock.monotonic() - self._due) // self._interval_seconds + 1.0)
        self._due += beats * self._interval_seconds
        return await self.sweep()

    async def sweep(self) -> Readings:
        """Sweep once, now."""
        gpus = await self._sweeper.sweep()
        known = self._sweeper.known
        generation = self._driver.generation
        return Readings(
            monotonic_seconds=self._clock.monotonic(),
            unix_seconds=self._clock.unix(),
            backend=self._driver.status,
            generation=self._driver.generations,
            known=known,
            gpus=gpus,
            engines=tuple(sample for poller in self._pollers for sample in poller.drain(known)),
            collectors=self._collectors(),
            unidentified_gpus=generation.unidentified if generation else 0,
        )

    def close(self) -> None:
        for task in self._polling:
            task.cancel()
        self._sweeper.close()

    def _collectors(self) -> tuple[CollectorHealth, ...]:
        gpu_healths = (self._driver.health.snapshot(), self._sweeper.health.snapshot())
        if not self._pollers:
            return gpu_healths
        return (*gpu_healths, _merged([poller.health.snapshot() for poller in self._pollers]))


def _merged(healths: Sequence[CollectorHealth]) -> CollectorHealth:
    """All engines as one collector: it succeeds when every page does; each workload tells for itself."""
    failures: Counter[str] = Counter()
    for health in healths:
        failures.update(dict(health.failures))
    successes = [health.last_success_unix_seconds for health in healths]
    durations = [health.duration_seconds for health in healths if health.duration_seconds is not None]
    return CollectorHealth(
        "engines",
        all(health.success for health in healths),
        None if None in successes else min(success for success in successes if success is not None),
        max(durations, default=None),
        tuple(sorted(failures.items())),
    )
