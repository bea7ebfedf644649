"""
Account of one meter of the host: whether a reading is plausible, and the joules that it adds.

A rejected reading adds nothing and covers nothing. Power is integrated over monotonic time, over gaps of up
to three of the meter's own periods.
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
    """Account that survives a restart of the agent: joules, seconds, and the last value of the counter."""

    joules: float = 0.0
    covered_seconds: float = 0.0
    counter: CounterPoint | None = None


def label_of(sample: MeterSample) -> str:
    """Return the meter's name on the node: its source, its scope, and its zone if there are several."""
    scope = "" if sample.scope in ("node", "sensor") else sample.scope
    return "/".join(part for part in (sample.source, scope, sample.zone) if part)


class MeterAccount:
    """
    Account of the meter whose first sample is *sample*. `good_at` is its last accepted reading.

    Since `good_since`, no gap between accepted readings was longer than three of its periods.
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
        self._freeze_detector = FreezeDetector(sample.scope)
        self._doubtful = NOTHING
        self._counter = MeterCounter(sample.scope, state.counter)
        self._reports_power: bool | None = None

    @property
    def state(self) -> MeterState:
        return MeterState(self._joules, self._covered_seconds, self._counter.point)

    @property
    def has_measured(self) -> bool:
        return self._covered_seconds > 0.0

    def is_fresh(self, monotonic_seconds: float) -> bool:
        """Whether the last accepted reading is still valid."""
        return monotonic_seconds - self.good_at <= self._max_gap_seconds

    def add(self, sample: MeterSample, boards: BoardPower) -> Increment:
        """Account for one reading; a reading that is not newer than the last is ignored."""
        if sample.monotonic_seconds <= self._read_at:
            return NOTHING
        self._read_at = sample.monotonic_seconds
        self._set_period(sample.period_seconds or self._period_seconds)
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
        """Return the meter to publish; its joules are None once its last accepted reading is too old."""
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

    def _set_period(self, period_seconds: float) -> None:
        """Take a new period; some meters report theirs only with a reading."""
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
        self._reset_on_other_quantity(sample.power_watts is not None)
        if sample.power_watts is not None:
            return self._judge_power(sample, value, boards)
        increment, rejection = self._counter.add(
            sample.monotonic_seconds, value, sample.energy_range_joules, boards
        )
        if increment.seconds:
            self.watts = increment.joules / increment.seconds
        return increment, rejection

    def _reset_on_other_quantity(self, reports_power: bool) -> None:
        """Start anew when a meter changes between power and energy, so that no time counts twice."""
        if self._reports_power not in (None, reports_power):
            self._integrator = Integrator(self._max_gap_seconds)
            self._counter = MeterCounter(self.scope)
            self._doubtful = NOTHING
        self._reports_power = reports_power

    def _judge_power(self, sample: MeterSample, watts: float, boards: BoardPower) -> tuple[Increment, str]:
        possible = bounds(self.scope, boards)
        if not possible.min_watts <= watts <= possible.max_watts:
            return NOTHING, "implausible"
        if not watts and self.scope not in MAY_BE_ZERO:
            return NOTHING, "implausible"
        self.watts = watts
        added = self._integrator.add(sample.monotonic_seconds, watts, is_mean=sample.power_is_mean)
        return self._unless_frozen(added, watts, boards)

    def _unless_frozen(self, added: Increment, watts: float, boards: BoardPower) -> tuple[Increment, str]:
        """Hold doubtful joules back until the meter moves, and drop them if it turns out to be frozen."""
        held = Increment(self._doubtful.joules + added.joules, self._doubtful.seconds + added.seconds)
        verdict = self._freeze_detector.add(watts, boards.watts)
        self._doubtful = held if verdict == "doubtful" else NOTHING
        if verdict == "frozen":
            self._integrator = Integrator(self._max_gap_seconds)
            return NOTHING, "frozen"
        return (held, "") if verdict == "moves" else (NOTHING, "")
