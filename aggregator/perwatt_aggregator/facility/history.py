"""Energy history: joules by time slice, from which a PUE is computed."""

import math
from array import array
from collections.abc import Sequence

from msgspec import Struct

SLICE_SECONDS = 60.0
MAX_SLICES = 1440
_COMPLETE_RATIO = 0.99
"""A slice is complete if at least this share of it is covered."""


class EnergyHistory:
    """
    The joules of one meter over the last *period_seconds*, in slices of at least a minute.

    Times are monotonic seconds. Joules are spread evenly over their time. The number of slices bounds memory.
    Before `begin_seconds` and after `end_seconds` the meter had nothing to measure: its joules are 0 there.
    """

    def __init__(self, period_seconds: float, begin_seconds: float = -math.inf) -> None:
        self.period_seconds = period_seconds
        self.slice_seconds = max(SLICE_SECONDS, period_seconds / MAX_SLICES)
        self.begin_seconds = begin_seconds
        self.end_seconds = math.inf
        self.joules_total = 0.0
        self.first_seconds: float | None = None
        self.last_seconds: float | None = None
        # One more slice than the period has, for the one that is still being filled.
        self._slots = int(period_seconds // self.slice_seconds) + 1
        self._joules = array("d", bytes(8 * self._slots))
        self._seconds = array("d", bytes(8 * self._slots))
        self._newest = 0

    def add(self, start_seconds: float, end_seconds: float, joules: float) -> None:
        """Add *joules* of constant power between two instants."""
        self.joules_total += joules
        if self.first_seconds is None:
            self.first_seconds = start_seconds
            self._newest = int(start_seconds // self.slice_seconds)
        self.last_seconds = max(self.last_seconds or end_seconds, end_seconds)
        self._advance(int(end_seconds // self.slice_seconds))
        watts = joules / (end_seconds - start_seconds)
        oldest = self._newest - self._slots + 1
        for slice_ in range(max(oldest, int(start_seconds // self.slice_seconds)), self._newest + 1):
            low = max(start_seconds, slice_ * self.slice_seconds)
            high = min(end_seconds, (slice_ + 1) * self.slice_seconds)
            if low < high:
                self._joules[slice_ % self._slots] += watts * (high - low)
                self._seconds[slice_ % self._slots] += high - low

    def complete_joules(self, slice_: int) -> float | None:
        """The joules of a slice; None unless it is complete."""
        if slice_ * self.slice_seconds >= self.end_seconds:
            return 0.0
        if (slice_ + 1) * self.slice_seconds <= self.begin_seconds:
            return 0.0
        if not self._newest - self._slots < slice_ <= self._newest:
            return None
        slot = slice_ % self._slots
        covered = self._seconds[slot] >= _COMPLETE_RATIO * self.slice_seconds
        return self._joules[slot] if covered else None

    @property
    def is_unread(self) -> bool:
        """Whether it was to be read from the start on, and has not been."""
        return self.first_seconds is None and math.isinf(self.begin_seconds)

    def _advance(self, slice_: int) -> None:
        """Begin empty slices up to *slice_*; they replace the oldest."""
        for empty in range(max(self._newest, slice_ - self._slots) + 1, slice_ + 1):
            self._joules[empty % self._slots] = self._seconds[empty % self._slots] = 0.0
        self._newest = max(self._newest, slice_)


class MeasuredEnergies(Struct, frozen=True):
    """
    Facility and IT joules of the same time.

    `seconds` is that time. `span_seconds` is the time since both were first read, at most the period.
    `age_seconds` is the time since the older of their newest readings.
    """

    facility_joules: float
    it_joules: float
    seconds: float
    span_seconds: float
    age_seconds: float


def measured_energies(
    facility: EnergyHistory, it: Sequence[EnergyHistory], now_seconds: float
) -> MeasuredEnergies | None:
    """Add up the slices that are complete in all histories; None until each of them has a reading."""
    histories = (facility, *it)
    whole = [one for one in histories if math.isinf(one.begin_seconds) and math.isinf(one.end_seconds)]
    firsts = [one.first_seconds for one in whole if one.first_seconds is not None]
    lasts = [one.last_seconds for one in histories if one.last_seconds and math.isinf(one.end_seconds)]
    if not it or not firsts or not lasts or any(one.is_unread for one in whole):
        return None
    width = facility.slice_seconds
    end = int(min(lasts) // width)
    start = max(
        int(-(-max(firsts) // width)), int(now_seconds // width) - int(facility.period_seconds // width)
    )
    facility_joules = it_joules = 0.0
    slices = 0
    for slice_ in range(start, end):
        joules = [one.complete_joules(slice_) for one in histories]
        known = [one for one in joules if one is not None]
        if len(known) == len(histories):
            slices += 1
            facility_joules += known[0]
            it_joules += sum(known[1:])
    return MeasuredEnergies(
        facility_joules,
        it_joules,
        seconds=slices * width,
        span_seconds=max(0, end - start) * width,
        age_seconds=max(0.0, now_seconds - min(lasts)),
    )
