"""
One meter of the host: whether a reading is to be believed, and the joules that it adds.

A reading that is not believed adds nothing and covers nothing. Power is integrated over monotonic time
alone, over gaps of up to three of the meter's own periods.
"""

import math
from collections import Counter

from msgspec import Struct

from perwatt_agent.accounting.board_power import BoardPower
from perwatt_agent.accounting.integrator import NOTHING, Increment, Integrator
from perwatt_agent.accounting.meter_counter import CounterPoint, MeterCounter
from perwatt_agent.accounting.plausibility import FreezeDetector, bounds
from perwatt_agent.facts.host_meter import MeterRole, MeterSnapshot
from perwatt_agent.facts.readings import MeterSample

MAX_GAP_PERIODS = 3.0
MAY_BE_ZERO = ("core", "dram", "sensor")


class MeterState(Struct, frozen=True):
    """What outlives a restart of the agent: the account, and where the meter's counter was."""

    joules: float = 0.0
    covered_seconds: float = 0.0
    counter: CounterPoint | None = None


def label_of(sample: MeterSample) -> str:
    """The meter's name on the node: its source, what of the node it measures, and which of several."""
    scope = "" if sample.scope in ("node", "sensor") else sample.scope
    return "/".join(part for part in (sample.source, scope, sample.zone) if part)


class MeterAccount:
    """
    The account of the meter of which *sample* is the first; `good_at` is when it was believed last.

    `good_since` is since when it has been without a gap of more than three of its periods.
    """

    def __init__(self, sample: MeterSample, period_seconds: float, state: MeterState | None = None) -> None:
        state = state or MeterState()
        self.label = label_of(sample)
        self.source, self.scope, self.zone = sample.source, sample.scope, sample.zone
        self.watts: float | None = None
        self.good_at = self.good_since = -math.inf
        self._joules = state.joules
        self._covered_seconds = state.covered_seconds
        self._period_seconds = period_seconds
        self._is_believed = False
        self._read_at = -math.inf
        self._rejections: Counter[str] = Counter()
        self._integrator = Integrator(self._max_gap_seconds)
        self._stillness = FreezeDetector(sample.scope)
        self._doubtful = NOTHING
        self._counter = MeterCounter(sample.scope, state.counter)
        self._tells_power: bool | None = None

    @property
    def state(self) -> MeterState:
        return MeterState(self._joules, self._covered_seconds, self._counter.point)

    @property
    def has_measured(self) -> bool:
        return self._covered_seconds > 0.0

    def is_fresh(self, monotonic_seconds: float) -> bool:
        """Whether the last reading that was believed still stands."""
        return monotonic_seconds - self.good_at <= self._max_gap_seconds

    def add(self, sample: MeterSample, boards: BoardPower) -> Increment:
        """Account for one reading; one that is not newer than the last is none."""
        if sample.monotonic_seconds <= self._read_at:
            return NOTHING
        self._read_at = sample.monotonic_seconds
        self._keep_pace(sample.period_seconds or self._period_seconds)
        increment, rejection = self._judge(sample, boards)
        self._is_believed = not rejection
        if rejection:
            self._rejections[rejection] += 1
            return NOTHING
        if not self.is_fresh(sample.monotonic_seconds):
            self.good_since = sample.monotonic_seconds
        self.good_at = sample.monotonic_seconds
        self._joules += increment.joules
        self._covered_seconds += increment.seconds
        return increment

    def snapshot(self, monotonic_seconds: float, role: MeterRole) -> MeterSnapshot:
        """What is published of the meter; no joules once no good reading stands any more."""
        is_fresh = self.is_fresh(monotonic_seconds)
        return MeterSnapshot(
            meter=self.label,
            source=self.source,
            scope=self.scope,
            zone=self.zone,
            role=role,
            period_seconds=self._period_seconds,
            is_believed=self._is_believed,
            energy_joules=self._joules if is_fresh else None,
            covered_seconds=self._covered_seconds,
            power_watts=self.watts if is_fresh else None,
            rejections=tuple(sorted(self._rejections.items())),
        )

    @property
    def _max_gap_seconds(self) -> float:
        return MAX_GAP_PERIODS * self._period_seconds

    def _keep_pace(self, period_seconds: float) -> None:
        """Some meters say how often they measure only once they were asked."""
        if period_seconds != self._period_seconds:
            self._period_seconds = period_seconds
            self._integrator = Integrator(self._max_gap_seconds)

    def _judge(self, sample: MeterSample, boards: BoardPower) -> tuple[Increment, str]:
        value = sample.energy_joules if sample.power_watts is None else sample.power_watts
        if value is None:
            return NOTHING, "unread"
        if not math.isfinite(value):
            return NOTHING, "malformed"
        if value < 0.0:
            return NOTHING, "negative"
        self._keep_apart(sample.power_watts is not None)
        if sample.power_watts is not None:
            return self._judge_power(sample, value, boards)
        increment, rejection = self._counter.add(
            sample.monotonic_seconds, value, sample.energy_range_joules, boards
        )
        if increment.seconds:
            self.watts = increment.joules / increment.seconds
        return increment, rejection

    def _keep_apart(self, tells_power: bool) -> None:
        """A meter that tells power now and its counter then: no time may be counted by both."""
        if self._tells_power not in (None, tells_power):
            self._integrator = Integrator(self._max_gap_seconds)
            self._counter = MeterCounter(self.scope)
            self._doubtful = NOTHING
        self._tells_power = tells_power

    def _judge_power(self, sample: MeterSample, watts: float, boards: BoardPower) -> tuple[Increment, str]:
        possible = bounds(self.scope, boards)
        if not possible.least_watts <= watts <= possible.most_watts:
            return NOTHING, "implausible"
        if not watts and self.scope not in MAY_BE_ZERO:
            return NOTHING, "implausible"
        self.watts = watts
        added = self._integrator.add(sample.monotonic_seconds, watts, is_mean=sample.power_is_mean)
        return self._unless_frozen(added, watts, boards)

    def _unless_frozen(self, added: Increment, watts: float, boards: BoardPower) -> tuple[Increment, str]:
        """Hold back what is doubtful until the meter moves; it was never there if the meter is frozen."""
        held = Increment(self._doubtful.joules + added.joules, self._doubtful.seconds + added.seconds)
        verdict = self._stillness.see(watts, boards.watts)
        self._doubtful = held if verdict == "doubtful" else NOTHING
        if verdict == "frozen":
            self._integrator = Integrator(self._max_gap_seconds)
            return NOTHING, "frozen"
        return (held, "") if verdict == "moves" else (NOTHING, "")
