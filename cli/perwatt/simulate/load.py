"""Load of a day: piecewise linear curves with exact integrals, the same every day."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

POWER_EXPONENT = 0.6
"""Power rises faster than throughput: half of the load takes two thirds of the power."""
BUSY_FACTOR = 2.0
"""An engine has a request at hand in all of the time from half of its load on."""

DAY_LEVELS = (0.28, 0.22, 0.18, 0.17, 0.19, 0.26, 0.38, 0.52, 0.68, 0.81, 0.88, 0.90) + (
    (0.86, 0.84, 0.87, 0.89, 0.85, 0.80, 0.76, 0.72, 0.66, 0.56, 0.46, 0.36)
)
"""Load of a typical day, hour by hour from midnight, as a share of full load."""


class Levels(NamedTuple):
    """
    Throughput, power above idle and time with a request, as shares of full load; or their integrals in
    seconds.
    """

    throughput: float
    power: float
    busy: float


class DayLoad:
    """
    Load that repeats every `day_seconds`: each of the three curves of Levels is linear between its knots.

    *day_offset* is how much earlier the day begins than at Unix time 0, as a share of a day.
    """

    def __init__(self, levels: Sequence[float], day_seconds: float, day_offset: float = 0.0) -> None:
        self._day_seconds = day_seconds
        self._offset_seconds = day_offset * day_seconds
        self._spacing_seconds = day_seconds / len(levels)
        closed = [*levels, levels[0]]
        self._knots = tuple(
            Levels(level, level**POWER_EXPONENT, min(1.0, BUSY_FACTOR * level)) for level in closed
        )
        areas = [
            Levels(*((a + b) / 2 * self._spacing_seconds for a, b in zip(one, other, strict=True)))
            for one, other in pairwise(self._knots)
        ]
        self._sums = tuple(accumulate(areas, _added, initial=Levels(0.0, 0.0, 0.0)))

    def at(self, unix_seconds: float) -> Levels:
        _, knot, into = self._place(unix_seconds)
        share = into / self._spacing_seconds
        one, other = self._knots[knot], self._knots[knot + 1]
        return Levels(
            one.throughput + (other.throughput - one.throughput) * share,
            one.power + (other.power - one.power) * share,
            one.busy + (other.busy - one.busy) * share,
        )

    def integral(self, unix_seconds: float) -> Levels:
        """The integral up to *unix_seconds*; only differences of two integrals have a meaning."""
        days, knot, into = self._place(unix_seconds)
        half = into * into / self._spacing_seconds / 2
        one, other, before, day = self._knots[knot], self._knots[knot + 1], self._sums[knot], self._sums[-1]
        return Levels(
            days * day[0] + before[0] + one[0] * into + (other[0] - one[0]) * half,
            days * day[1] + before[1] + one[1] * into + (other[1] - one[1]) * half,
            days * day[2] + before[2] + one[2] * into + (other[2] - one[2]) * half,
        )

    def _place(self, unix_seconds: float) -> tuple[int, int, float]:
        """The number of the day, the knot before, and the seconds since it."""
        seconds = unix_seconds + self._offset_seconds
        days = math.floor(seconds / self._day_seconds)
        of_day = seconds - days * self._day_seconds
        knot = min(int(of_day / self._spacing_seconds), len(self._knots) - 2)
        return days, knot, of_day - knot * self._spacing_seconds


def _added(one: Levels, other: Levels) -> Levels:
    return Levels(*(a + b for a, b in zip(one, other, strict=True)))
