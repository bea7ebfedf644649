"""Shared meter: polled by the aggregator, with its energy over the last minutes."""

from collections import deque
from collections.abc import Iterator, Sequence

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.meters.collector import MeterPoller
from perwatt_agent.meters.meter import Meter
from perwatt_aggregator.facility.meter_intervals import Interval, MeterIntervals
from perwatt_aggregator.facility.shared_meter_config import SharedMeterConfig


class SharedReading(Struct, frozen=True):
    """Energy of a meter within a window; the joules are those of the covered seconds."""

    source: str
    joules: float
    covered_seconds: float
    refreshes: int
    period_seconds: float

    @property
    def watts(self) -> float | None:
        return self.joules / self.covered_seconds if self.covered_seconds > 0.0 else None


class SharedMeter:
    """
    Polls *meter* at its own interval, and keeps its energy for *history_seconds*.

    Times are monotonic seconds of *clock*.
    """

    def __init__(self, config: SharedMeterConfig, meter: Meter, clock: Clock, history_seconds: float) -> None:
        self.config = config
        self._meter = meter
        self._clock = clock
        self._history_seconds = history_seconds
        self._poller = MeterPoller(self, clock)
        self._meter_intervals = MeterIntervals()
        self._intervals: deque[Interval] = deque()
        self._read_at = float("-inf")
        self._period_seconds = meter.interval_seconds

    @property
    def name(self) -> str:
        return self.config.label

    @property
    def is_up(self) -> bool:
        """Whether the latest read succeeded."""
        return self.health.success

    def covers_node(self, node: str) -> bool:
        """Whether the meter covers *node*, `HOST:PORT`."""
        return self.config.covers_node(node)

    @property
    def interval_seconds(self) -> float:
        return self._meter.interval_seconds

    @property
    def health(self) -> CollectorHealth:
        """Health of its reads."""
        return self._poller.health.snapshot()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.poll()
            await self._clock.sleep_until(started + self._meter.interval_seconds)

    async def poll(self) -> None:
        """Read once. Failures are counted, and the first of several is logged."""
        await self._poller.poll()
        oldest = self._clock.monotonic() - self._history_seconds
        while self._intervals and self._intervals[0].end_seconds < oldest:
            self._intervals.popleft()

    async def read(self) -> Sequence[MeterSample]:
        """
        Read the meter and keep its energy; no samples are returned.

        Raises MeterFailure if the meter does, and for a value that is not plausible.
        """
        for sample in await self._meter.read():
            if sample.scope == "node" and sample.monotonic_seconds > self._read_at:
                self._read_at = sample.monotonic_seconds
                self._period_seconds = sample.period_seconds or self._meter.interval_seconds
                self._intervals.extend(self._meter_intervals.add(sample))
        return ()

    def intervals_after(self, seconds: float) -> Iterator[Interval]:
        """The intervals since *seconds*, as far as they are kept."""
        return (one for one in self._intervals if one.start_seconds >= seconds)

    def reading(self, start_seconds: float, end_seconds: float) -> SharedReading:
        """The energy between two instants; an interval that reaches beyond counts in proportion."""
        joules = covered = 0.0
        refreshes = 0
        for one in self._intervals:
            within = min(end_seconds, one.end_seconds) - max(start_seconds, one.start_seconds)
            if within > 0.0:
                joules += one.joules * within / (one.end_seconds - one.start_seconds)
                covered += within
                refreshes += 1
        source = self.config.source or self.config.kind
        return SharedReading(source, joules, covered, refreshes, self._period_seconds)
