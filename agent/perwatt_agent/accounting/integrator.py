"""Integration of power readings to joules, for meters without a counter and to check those with one."""

from msgspec import Struct


class Increment(Struct, frozen=True):
    """Joules, and the seconds that they cover; a reset covers 0 seconds."""

    joules: float
    seconds: float


NOTHING = Increment(0.0, 0.0)


class Integrator:
    """
    Integrate one power signal over monotonic time.

    A mean counts for the whole interval since the previous reading (reading x interval); instantaneous
    readings are joined by straight lines (trapezoid). A gap of more than `max_gap_seconds` adds nothing and
    covers nothing.
    """

    def __init__(self, max_gap_seconds: float) -> None:
        self._max_gap_seconds = max_gap_seconds
        self._last: tuple[float, float] | None = None

    def add(self, monotonic_seconds: float, power_watts: float, *, is_mean: bool) -> Increment:
        last, self._last = self._last, (monotonic_seconds, power_watts)
        if last is None:
            return NOTHING
        seconds = monotonic_seconds - last[0]
        if not 0.0 < seconds <= self._max_gap_seconds:
            return NOTHING
        mean_watts = power_watts if is_mean else (power_watts + last[1]) / 2
        return Increment(mean_watts * seconds, seconds)
