"""The recent past of one GPU's energy, so that joules can be told for any instant in it."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable

from msgspec import Struct


class TrackPoint(Struct, frozen=True):
    """
    Cumulative account of one GPU at one instant.

    `busy_joules` is the part of `accepted_joules` that was used while something ran on the GPU, and
    `share_joules` what came to each of its holders, equally among those of the moment.
    """

    monotonic_seconds: float
    accepted_joules: float
    covered_seconds: float
    busy_joules: float = 0.0
    share_joules: float = 0.0

    def since(self, earlier: "TrackPoint") -> "TrackPoint":
        """
        What was used since an earlier point; never less than nothing.

        Interpolated points are off by a rounding error, and a counter that falls by one is a restart
        to whoever reads it.
        """
        return TrackPoint(
            self.monotonic_seconds - earlier.monotonic_seconds,
            max(0.0, self.accepted_joules - earlier.accepted_joules),
            max(0.0, self.covered_seconds - earlier.covered_seconds),
            max(0.0, self.busy_joules - earlier.busy_joules),
            max(0.0, self.share_joules - earlier.share_joules),
        )


class EnergyTrack:
    """
    Points in order of time, between which everything is taken to be linear.

    `at` answers for instants from the first to the last point and clamps outside of them; `forget`
    keeps all that is needed to answer from a given instant on.
    """

    def __init__(self, points: Iterable[TrackPoint] = ()) -> None:
        self._points = deque(points)

    @property
    def last(self) -> TrackPoint | None:
        return self._points[-1] if self._points else None

    @property
    def start(self) -> float:
        """The first instant that is still known; the track must not be empty."""
        return self._points[0].monotonic_seconds

    def add(
        self,
        monotonic_seconds: float,
        accepted_joules: float,
        covered_seconds: float,
        *,
        busy: bool,
        holders: int,
    ) -> None:
        """Add a point; *busy* and *holders* hold since the last one. One that is not later is left out."""
        last = self.last
        if last is None:
            self._points.append(TrackPoint(monotonic_seconds, accepted_joules, covered_seconds))
            return
        if monotonic_seconds <= last.monotonic_seconds:
            return
        used = accepted_joules - last.accepted_joules
        self._points.append(
            TrackPoint(
                monotonic_seconds,
                accepted_joules,
                covered_seconds,
                last.busy_joules + (used if busy else 0.0),
                last.share_joules + (used / holders if holders else 0.0),
            )
        )

    def at(self, monotonic_seconds: float) -> TrackPoint:
        """The account at an instant, by linear interpolation; the track must not be empty."""
        points = self._points
        if monotonic_seconds >= points[-1].monotonic_seconds:
            return points[-1]
        if monotonic_seconds <= points[0].monotonic_seconds:
            return points[0]
        after = bisect_left(points, monotonic_seconds, key=lambda point: point.monotonic_seconds)
        return _between(points[after - 1], points[after], monotonic_seconds)

    def forget(self, before: float) -> None:
        while len(self._points) > 1 and self._points[1].monotonic_seconds <= before:
            self._points.popleft()


def _between(earlier: TrackPoint, later: TrackPoint, monotonic_seconds: float) -> TrackPoint:
    span = later.since(earlier)
    share = (monotonic_seconds - earlier.monotonic_seconds) / span.monotonic_seconds
    return TrackPoint(
        monotonic_seconds,
        earlier.accepted_joules + share * span.accepted_joules,
        earlier.covered_seconds + share * span.covered_seconds,
        earlier.busy_joules + share * span.busy_joules,
        earlier.share_joules + share * span.share_joules,
    )
