"""Meter intervals: energy from the samples of a meter, in which no reset, wrap or leap counts as energy."""

from collections.abc import Iterator

from msgspec import Struct

from perwatt_agent.accounting.integrator import Integrator
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import MAX_WATTS

GAP_PERIODS = 3.0
"""Power is not integrated across a gap of more than this many periods of the meter."""
FROZEN_SECONDS = 3600.0
"""No building has exactly the same power for an hour, not even zero."""
LEAP_RATIO = 10.0
CONFIRMING_RATIO = 2.0


class Interval(Struct, frozen=True):
    """Joules between two monotonic instants."""

    start_seconds: float
    end_seconds: float
    joules: float


class PlausibilityCheck:
    """
    Check of a power against the powers before it.

    A power of more than ten times the one before, or less than a tenth, is accepted only if the next
    reading confirms it: a wrong unit, a lost digit or a replaced counter shows only once. A power above
    *max_watts* is never accepted.
    """

    def __init__(self, max_watts: float = MAX_WATTS) -> None:
        self._max_watts = max_watts
        self._known: float | None = None
        self._suspect: float | None = None

    def accepts(self, watts: float) -> bool:
        if not 0.0 <= watts <= self._max_watts:
            return False
        leaps = self._known is not None and not _alike(watts, self._known, LEAP_RATIO)
        confirmed = self._suspect is not None and _alike(watts, self._suspect, CONFIRMING_RATIO)
        if leaps and not confirmed:
            self._suspect = watts
            return False
        self._known, self._suspect = watts, None
        return True


def _alike(one: float, other: float, ratio: float) -> bool:
    return one <= ratio * other and other <= ratio * one


class MeterIntervals:
    """
    Intervals of energy from the samples of one meter: of its counter if it has one, else of its power.

    Many counters count whole kilowatt-hours, so that an interval runs from one step of the counter to the
    next. A counter that falls has wrapped if its range is known; otherwise it was reset. A step that makes up
    for the fall is none: two counters answer in turn.
    """

    def __init__(self) -> None:
        self._counter = _CounterIntervals()
        self._power = _PowerIntervals()
        self._counts = False
        self._same: tuple[float, float] | None = None  # since when it has shown this number, and the number

    def add(self, sample: MeterSample) -> Iterator[Interval]:
        """
        Add a sample; yields the interval that it completes.

        Raises MeterFailure for a sample that is not plausible: it completes no interval.
        """
        self._watch(sample)
        if sample.energy_joules is not None:
            self._counts = True
            yield from self._counter.add(sample, sample.energy_joules)
        elif sample.power_watts is not None and not self._counts:
            yield from self._power.add(sample, sample.power_watts)

    def _watch(self, sample: MeterSample) -> None:
        value = sample.power_watts if sample.energy_joules is None else sample.energy_joules
        if value is None:
            return
        if self._same is None or self._same[1] != value:
            self._same = (sample.monotonic_seconds, value)
        elif sample.monotonic_seconds - self._same[0] > FROZEN_SECONDS:
            raise MeterFailure(
                "stale", "it has shown the same number for more than an hour; check that the meter works"
            )


def _refuse(watts: float) -> MeterFailure:
    return MeterFailure(
        "implausible",
        f"{watts:.6g} W is ten times more or less than before, which the next reading must confirm, or above "
        f"{MAX_WATTS:g} W; check the meter, `unit` and `factor`",
    )


class _CounterIntervals:
    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None  # when the counter last moved, and where to
        self._has_stepped = False
        self._fell_by: float | None = None
        self._plausible = PlausibilityCheck()

    def add(self, sample: MeterSample, joules: float) -> Iterator[Interval]:
        now = sample.monotonic_seconds
        if self._last is None:
            self._last = (now, joules)
            return
        since, before = self._last
        if joules == before or now <= since:
            return
        step = joules - before
        if step < 0.0 and sample.energy_range_joules is not None:
            step += sample.energy_range_joules
        self._last = (now, joules)
        if step < 0.0:
            self._has_stepped, self._fell_by = False, -step
            return
        if self._fell_by is not None and step >= self._fell_by:
            self._has_stepped, self._fell_by = False, None
            raise MeterFailure(
                "implausible",
                "the counter fell and is back: check whether two meters answer in turn at one address",
            )
        # It is not known how much of the first step had been counted before the first sample.
        stepped, self._has_stepped = self._has_stepped, True
        if not stepped:
            return
        watts = step / (now - since)
        if not self._plausible.accepts(watts):
            raise _refuse(watts)
        yield Interval(since, now, step)


class _PowerIntervals:
    def __init__(self) -> None:
        self._integrator: Integrator | None = None
        self._plausible = PlausibilityCheck()

    def add(self, sample: MeterSample, watts: float) -> Iterator[Interval]:
        if self._integrator is None:
            self._integrator = Integrator(GAP_PERIODS * (sample.period_seconds or 1.0))
        if not self._plausible.accepts(watts):
            raise _refuse(watts)
        now = sample.monotonic_seconds
        gained = self._integrator.add(now, watts, is_mean=sample.power_is_mean)
        if gained.seconds > 0.0:
            yield Interval(now - gained.seconds, now, gained.joules)
