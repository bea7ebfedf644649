"""Piecewise constant quantities with exact integrals."""

from bisect import bisect_right
from random import Random


class Steps:
    """A quantity per second that is constant between its changes; `total` is its exact integral."""

    def __init__(self, start: float, value: float) -> None:
        self._times = [start]
        self._values = [value]
        self._totals = [0.0]

    def change(self, at: float, value: float) -> None:
        """Let the quantity be *value* from *at* on; changes come in order of time."""
        self._totals.append(self.total(at))
        self._times.append(at)
        self._values.append(value)

    def at(self, t: float) -> float:
        return self._values[self._index(t)]

    def total(self, t: float) -> float:
        """The integral from the start to *t*."""
        index = self._index(t)
        return self._totals[index] + self._values[index] * max(0.0, t - self._times[index])

    def between(self, start: float, end: float) -> float:
        return self.total(end) - self.total(start)

    def times(self, factor: float) -> "Steps":
        """A quantity that is so many times as large."""
        steps = Steps(self._times[0], self._values[0] * factor)
        for at, value in zip(self._times[1:], self._values[1:], strict=True):
            steps.change(at, value * factor)
        return steps

    def _index(self, t: float) -> int:
        return max(0, bisect_right(self._times, t) - 1)


def load(random: Random, start: float, end: float) -> list[tuple[float, float]]:
    """How busy an engine is, from 0 to 1, with the instant from which on: new every 5 to 40 seconds."""
    levels = [(start, random.uniform(0.2, 1.0))]
    while (t := levels[-1][0] + random.uniform(5.0, 40.0)) < end:
        levels.append((t, random.uniform(0.2, 1.0)))
    return levels


def following(levels: list[tuple[float, float]], random: Random, at_rest: float, at_full: float) -> Steps:
    """A quantity that follows a load, give or take a tenth at each of its levels."""
    steps: Steps | None = None
    for t, level in levels:
        value = at_rest + (at_full - at_rest) * level * random.uniform(0.9, 1.1)
        if steps is None:
            steps = Steps(t, value)
        else:
            steps.change(t, value)
    assert steps is not None
    return steps
