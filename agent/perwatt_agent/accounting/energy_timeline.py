"""Timeline of one GPU's energy: recent points, from which joules at any instant are interpolated."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping

from msgspec import Struct


class TimelinePoint(Struct, frozen=True):
    """
    Cumulative energy of one GPU at one instant.

    `busy_joules` is the part of `accepted_joules` that was used while something ran on the GPU, and
    `shares` are the joules of each holder since it holds the GPU.
    """

    monotonic_seconds: float
    accepted_joules: float
    covered_seconds: float
    busy_joules: float = 0.0
    shares: dict[str, float] = {}

    def share(self, name: str) -> float:
        return self.shares.get(name, 0.0)


class Used(Struct, frozen=True):
    """
    Energy of a GPU that one holder, or all of them, used between two instants.

    `busy_ratio` is the part of the board's joules that was used while something ran.
    """

    joules: float
    covered_seconds: float
    busy_ratio: float


class EnergyTimeline:
    """
    Points in order of time, with linear interpolation between them.

    `at` clamps instants before the first and after the last point. `forget` keeps every point that is needed
    from a given instant on.
    """

    def __init__(self, points: Iterable[TimelinePoint] = ()) -> None:
        self._points = deque(points)
        self.last: TimelinePoint | None = self._points[-1] if self._points else None

    @property
    def start(self) -> float:
        """Return the first instant that is kept; the timeline must not be empty."""
        return self._points[0].monotonic_seconds

    def add(
        self,
        monotonic_seconds: float,
        accepted_joules: float,
        covered_seconds: float,
        *,
        busy: bool,
        shares: Mapping[str, float],
    ) -> None:
        """
        Add a point; *busy* and the joules in *shares*, by holder, are those since the last point.

        A point that is not later than the last one is ignored.
        """
        last = self.last
        if last is None:
            self.last = TimelinePoint(monotonic_seconds, accepted_joules, covered_seconds)
        elif monotonic_seconds > last.monotonic_seconds:
            used = accepted_joules - last.accepted_joules
            self.last = TimelinePoint(
                monotonic_seconds,
                accepted_joules,
                covered_seconds,
                last.busy_joules + (used if busy else 0.0),
                {name: last.share(name) + joules for name, joules in shares.items()} if shares else {},
            )
        else:
            return
        self._points.append(self.last)

    def at(self, monotonic_seconds: float) -> TimelinePoint:
        """Return the point at an instant, interpolated; the timeline must not be empty."""
        points = self._points
        if monotonic_seconds >= points[-1].monotonic_seconds:
            return points[-1]
        if monotonic_seconds <= points[0].monotonic_seconds:
            return points[0]
        after = bisect_left(points, monotonic_seconds, key=lambda point: point.monotonic_seconds)
        return _between(points[after - 1], points[after], monotonic_seconds)

    def used(self, start: float, end: float, name: str | None = None) -> Used:
        """
        Return what was used from *start* to *end*, by the holder *name* or by all; never negative.

        Interpolated points have a rounding error, and to a reader of a counter any decrease is a restart.
        """
        first, last = self.at(start), self.at(end)
        accepted = max(0.0, last.accepted_joules - first.accepted_joules)
        busy = max(0.0, last.busy_joules - first.busy_joules)
        return Used(
            accepted if name is None else max(0.0, last.share(name) - first.share(name)),
            max(0.0, last.covered_seconds - first.covered_seconds),
            min(1.0, busy / accepted) if accepted > 0.0 else 0.0,
        )

    def forget(self, before: float) -> None:
        while len(self._points) > 1 and self._points[1].monotonic_seconds <= before:
            self._points.popleft()


def _between(earlier: TimelinePoint, later: TimelinePoint, monotonic_seconds: float) -> TimelinePoint:
    part = (monotonic_seconds - earlier.monotonic_seconds) / (
        later.monotonic_seconds - earlier.monotonic_seconds
    )

    def inner(one: float, other: float) -> float:
        return one + part * (other - one)

    return TimelinePoint(
        monotonic_seconds,
        inner(earlier.accepted_joules, later.accepted_joules),
        inner(earlier.covered_seconds, later.covered_seconds),
        inner(earlier.busy_joules, later.busy_joules),
        {name: inner(earlier.share(name), joules) for name, joules in later.shares.items()},
    )
