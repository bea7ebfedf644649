"""Collector of meter samples: reads each meter at its own interval, independent of the GPUs."""

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.meters.deadline import within_deadline
from perwatt_agent.meters.meter import Meter, MeterFailure

logger = logging.getLogger(__name__)

# Only an operator can correct these, so they are retried less often.
PERMANENT = ("absent", "permission_denied")
RETRY_SECONDS = 60.0
DEADLINE_SECONDS = 20.0
VALID_PERIODS = 3.0


class MeterCollector:
    """
    Pollers of all meters; one that fails, hangs or is late does not affect the others.

    `drain` is called once per collection cycle. It returns every sample since the previous call, or else the
    newest samples again while they are not older than three of their meter's periods. If the name of a meter
    differs from its source, the name becomes the zone, so that two meters of one source stay distinct.
    """

    def __init__(
        self, meters: Sequence[Meter], clock: Clock, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._pollers = tuple(MeterPoller(meter, clock, deadline_seconds) for meter in meters)

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.gather(*(poller.run() for poller in self._pollers))

    def drain(self) -> tuple[MeterSample, ...]:
        return tuple(sample for poller in self._pollers for sample in poller.drain())

    def health(self) -> tuple[CollectorHealth, ...]:
        return tuple(poller.health.snapshot() for poller in self._pollers)


class MeterPoller:
    """Poller of one meter. `health` is that of the collector `meter_<name>`."""

    def __init__(self, meter: Meter, clock: Clock, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._meter = meter
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._failure = ""
        self._received: list[MeterSample] = []
        self._newest: tuple[MeterSample, ...] = ()
        self.health = Health(f"meter_{meter.name}")

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.poll()
            wait_seconds = self._meter.interval_seconds
            if self._failure in PERMANENT:
                wait_seconds = max(wait_seconds, RETRY_SECONDS)
            await self._clock.sleep_until(started + wait_seconds)

    async def poll(self) -> None:
        """Read once. Failures are counted, and logged when they begin and when they end."""
        started = self._clock.monotonic()
        try:
            samples = await within_deadline(self._samples(), self._deadline_seconds)
        except MeterFailure as failure:
            self._failed(failure.reason, str(failure))
        else:
            self._read(samples)
        self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)

    def drain(self) -> list[MeterSample]:
        """Return the samples since the last call, or else the newest ones that are still valid."""
        if not self._received:
            now = self._clock.monotonic()
            return [
                sample for sample in self._newest if now - sample.monotonic_seconds <= self._valid(sample)
            ]
        received, self._received = self._received, []
        return received

    def _valid(self, sample: MeterSample) -> float:
        return VALID_PERIODS * (sample.period_seconds or self._meter.interval_seconds)

    async def _samples(self) -> tuple[MeterSample, ...]:
        return tuple(await self._meter.read())

    def _read(self, samples: tuple[MeterSample, ...]) -> None:
        if self._failure:
            logger.info("%s: readings resumed", self._meter.name)
        self._failure = ""
        self._newest = tuple(self._named(sample) for sample in samples)
        self._received.extend(self._newest)

    def _named(self, sample: MeterSample) -> MeterSample:
        if sample.source == self._meter.name or sample.zone:
            return sample
        return replace(sample, zone=self._meter.name)

    def _failed(self, reason: str, message: str) -> None:
        self.health.failed(reason)
        if reason != self._failure:
            level = logging.INFO if reason == "absent" else logging.WARNING
            logger.log(
                level,
                "%s: no readings (%s): %s; run `perwatt doctor`, or check its entry of meters.list",
                self._meter.name,
                reason,
                message,
                extra={"kind": reason},
            )
        self._failure = reason
