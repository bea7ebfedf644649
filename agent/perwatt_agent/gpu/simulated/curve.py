"""Piecewise linear curves with exact integrals and exact first-order lags."""

import math
from collections.abc import Callable

_LOOK_BACK_KNOTS = 2


class Curve:
    """
    A quantity over seconds since 0: `knot(k)` at `k * spacing_seconds`, linear in between.

    Before 0 it is 0. The integral is cached at a knot a little before the last one that was read, so that
    a read takes the same time at any age.
    """

    def __init__(self, knot: Callable[[int], float], spacing_seconds: float) -> None:
        self._knot = knot
        self._spacing_seconds = spacing_seconds
        self._reached = (0, 0.0)  # a knot, and the integral up to it; replaced as a whole

    def at(self, seconds: float) -> float:
        _, into, start, slope = self._segment(seconds)
        return start + slope * into if seconds >= 0 else 0.0

    def integral(self, seconds: float) -> float:
        """The integral from 0 to *seconds*."""
        if seconds <= 0:
            return 0.0
        k, into, start, slope = self._segment(seconds)
        return self._integral_to_knot(k) + (start + slope * into / 2) * into

    def mean(self, seconds: float, over_seconds: float) -> float:
        """The mean over the *over_seconds* before *seconds*, or over as many as there were."""
        begin = max(0.0, seconds - over_seconds)
        if seconds <= begin:
            return self.at(seconds)
        return (self.integral(seconds) - self.integral(begin)) / (seconds - begin)

    def _segment(self, seconds: float) -> tuple[int, float, float, float]:
        """The knot before, the seconds since it, the value there and the slope from there."""
        k = math.floor(seconds / self._spacing_seconds)
        start = self._knot(k)
        slope = (self._knot(k + 1) - start) / self._spacing_seconds
        return k, seconds - k * self._spacing_seconds, start, slope

    def _integral_to_knot(self, k: int) -> float:
        """Always summed in the same order, so that equal times give equal integrals to the last bit."""
        at, total = self._reached if self._reached[0] <= k else (0, 0.0)
        while at < k:
            total += (self._knot(at) + self._knot(at + 1)) / 2 * self._spacing_seconds
            at += 1
            if self._reached[0] < at <= k - _LOOK_BACK_KNOTS:
                self._reached = (at, total)
        return total


class Lag:
    """
    First-order lag behind a curve, as a temperature lags: dy/dt = (x - y) / lag_seconds, with y(0) = x(0).
    """

    def __init__(self, knot: Callable[[int], float], spacing_seconds: float, lag_seconds: float) -> None:
        self._knot = knot
        self._spacing_seconds = spacing_seconds
        self._lag_seconds = lag_seconds
        self._reached = (0, knot(0))

    def at(self, seconds: float) -> float:
        k = max(0, math.floor(seconds / self._spacing_seconds))
        at, value = self._reached if self._reached[0] <= k else (0, self._knot(0))
        while at < k:
            value = self._follow(at, value, self._spacing_seconds)
            at += 1
        self._reached = (at, value)
        return self._follow(k, value, max(0.0, seconds) - k * self._spacing_seconds)

    def _follow(self, k: int, value: float, seconds: float) -> float:
        """The solution for a straight x: it trails by lag x slope, less what is left of the start."""
        start = self._knot(k)
        slope = (self._knot(k + 1) - start) / self._spacing_seconds
        trail = slope * self._lag_seconds
        return (
            start + slope * seconds - trail + (value - start + trail) * math.exp(-seconds / self._lag_seconds)
        )
