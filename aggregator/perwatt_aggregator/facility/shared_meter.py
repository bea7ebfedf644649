"""A shared meter as it is asked: what it measured over any of the last minutes."""

from collections import deque
from collections.abc import Iterator, Sequence

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.meters.feed import MeterPoller
from perwatt_agent.meters.meter import Meter
from perwatt_aggregator.facility.meter_intervals import Interval, MeterIntervals
from perwatt_aggregator.facility.shared_meter_config import SharedMeterConfig


class SharedReading(Struct, frozen=True):
    """What a meter measured within a window; joules are those of the seconds that are covered."""

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
    Asks *meter* at its pace, and keeps its energy for *history_seconds*.

    Times are monotonic seconds of *clock*.
    """

    def __init__(self, config: SharedMeterConfig, meter: Meter, clock: Clock, history_seconds: float) -> None:
        self.config = config
        self._meter = meter
        self._clock = clock
        self._history_seconds = history_seconds
        self._poller = MeterPoller(self, clock)
        self._track = MeterIntervals()
        self._intervals: deque[Interval] = deque()
        self._read_at = float("-inf")
        self._period_seconds = meter.interval_seconds

    @property
    def name(self) -> str:
        return self.config.label

    @property
    def answers(self) -> bool:
        """Whether it did when it was last asked."""
        return self.health.success

    def covers_node(self, node: str) -> bool:
        """Whether *node*, `HOST:PORT`, hangs on it."""
        return self.config.covers_node(node)

    @property
    def interval_seconds(self) -> float:
        return self._meter.interval_seconds

    @property
    def health(self) -> CollectorHealth:
        """How asking it fares."""
        return self._poller.health.snapshot()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.ask()
            await self._clock.sleep_until(started + self._meter.interval_seconds)

    async def ask(self) -> None:
        """Ask once; failures are counted, and logged when they begin."""
        await self._poller.poll()
        oldest = self._clock.monotonic() - self._history_seconds
        while self._intervals and self._intervals[0].end_seconds < oldest:
            self._intervals.popleft()

    async def read(self) -> Sequence[MeterSample]:
        """
        Take in what the meter shows, so that nothing is left for others.

        Raises MeterFailure where the meter does, and for a number that is not to be believed.
        """
        for sample in await self._meter.read():
            if sample.scope == "node" and sample.monotonic_seconds > self._read_at:
                self._read_at = sample.monotonic_seconds
                self._period_seconds = sample.period_seconds or self._meter.interval_seconds
                self._intervals.extend(self._track.add(sample))
        return ()

    def intervals_after(self, seconds: float) -> Iterator[Interval]:
        """What was measured since *seconds*, as far as it is kept."""
        return (one for one in self._intervals if one.start_seconds >= seconds)

    def reading(self, start_seconds: float, end_seconds: float) -> SharedReading:
        """What was measured between two instants; an interval that reaches beyond counts by its share."""
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
