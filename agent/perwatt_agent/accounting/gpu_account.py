"""Account of one GPU: joules of each holder, of no holder, and those that wait for a holder's page."""

import math

from msgspec import Struct

from perwatt_agent.accounting.energy_timeline import EnergyTimeline, TimelinePoint, Used
from perwatt_agent.accounting.split import Split, equally
from perwatt_agent.facts.workload import Method


class GpuAccountState(Struct, frozen=True):
    """
    Account that survives a restart of the agent.

    `points` has the newest point and one for each cursor, so that no value must be interpolated again.
    `ended_joules` belong to workloads that have ended and are no longer published.
    """

    points: tuple[TimelinePoint, ...]
    cursors: dict[str, float]
    unallocated_joules: float
    unknown_joules: float
    ended_joules: float = 0.0


class GpuAccount:
    """
    Joules of one GPU, by owner.

    At every instant: taken by holders + unallocated + unknown + waiting = the GPU's accepted joules.
    `cursors` has, for each holder, the instant up to which its joules are attributed. Holders join and leave
    at the instant of the last reading. While they hold the GPU, they share its joules; `method` is how the
    latest ones were divided.
    """

    def __init__(self, state: GpuAccountState | None = None) -> None:
        self.timeline = EnergyTimeline(state.points if state else ())
        self.cursors = dict(state.cursors) if state else {}
        self.unallocated_joules = state.unallocated_joules if state else 0.0
        self.unknown_joules = state.unknown_joules if state else 0.0
        self.ended_joules = state.ended_joules if state else 0.0
        self.method: Method | None = None
        self.is_working = False
        """Whether the GPU was busy at its last reading."""
        self.resting: frozenset[str] = frozenset()
        """Holders whose part of the GPU was idle at that time."""
        self.has_no_sensor = False
        """Whether the GPU answers now, with neither energy nor power."""
        self.first_read_at: float | None = None
        """When the GPU was first read in this run of the agent."""

    @property
    def read_at(self) -> float:
        """Instant of the last reading; minus infinity before the first."""
        last = self.timeline.last
        return float("-inf") if last is None else last.monotonic_seconds

    @property
    def is_unmeasurable(self) -> bool:
        """Whether the GPU answers, and never had joules: one that had some has failed."""
        return self.has_no_sensor and self.timeline.last is None

    def read(
        self,
        monotonic_seconds: float,
        accepted_joules: float,
        covered_seconds: float,
        *,
        busy: bool,
        split: Split | None = None,
        idle_watts: float = 0.0,
    ) -> None:
        """
        Add the GPU's accounted energy at the instant of a reading.

        *split* divides it among the holders, equally by default. Joules without a holder are booked at once.
        """
        self.first_read_at = monotonic_seconds if self.first_read_at is None else self.first_read_at
        before = self.timeline.last
        shares: dict[str, float] = {}
        if before is not None and self.cursors and monotonic_seconds > before.monotonic_seconds:
            split = split or equally(self.cursors)
            joules = accepted_joules - before.accepted_joules
            idle_joules = idle_watts * (covered_seconds - before.covered_seconds)
            shares = split.divide(joules, idle_joules)
            unallocated, unknown = split.rest(joules, idle_joules)
            self.unallocated_joules += unallocated
            self.unknown_joules += unknown
            self.method, self.resting = split.method, split.resting
        self.timeline.add(monotonic_seconds, accepted_joules, covered_seconds, busy=busy, shares=shares)
        if before is not None and not self.cursors and monotonic_seconds > before.monotonic_seconds:
            joules = max(0.0, accepted_joules - before.accepted_joules)
            self._book(joules, busy_ratio=float(busy))

    def join(self, name: str) -> None:
        """Make a workload a holder from the last reading on, unless it is one."""
        self.cursors.setdefault(name, max(self.read_at, 0.0))

    def leave(self, name: str) -> None:
        """Remove a holder; joules that waited for its page become unknown or unallocated."""
        self.write_off(name, self.read_at)
        del self.cursors[name]

    def take(self, name: str, start: float, end: float) -> Used:
        """Return what a holder used, and move its cursor to *end*. A reading at or after *end* exists."""
        self.cursors[name] = max(self.cursors[name], end)
        return self.timeline.used(start, end, name)

    def write_off(self, name: str, until: float) -> None:
        """Book a holder's joules up to *until*, as far as they were read, as unknown or unallocated."""
        until = min(until, self.read_at)
        if until > self.cursors[name]:
            used = self.take(name, self.cursors[name], until)
            self._book(used.joules, busy_ratio=used.busy_ratio)

    def waiting_joules(self) -> float:
        last = self.timeline.last
        if last is None:
            return 0.0
        return sum(last.share(name) - self.timeline.at(at).share(name) for name, at in self.cursors.items())

    def forget(self) -> None:
        """Drop points of the timeline that no holder needs."""
        self.timeline.forget(min(self.cursors.values()) if self.cursors else math.inf)

    def state(self) -> GpuAccountState | None:
        last = self.timeline.last
        if last is None:
            return None
        points = {last.monotonic_seconds: last}
        for instant in self.cursors.values():
            point = self.timeline.at(instant)
            points.setdefault(point.monotonic_seconds, point)
        return GpuAccountState(
            tuple([points[instant] for instant in sorted(points)]),
            dict(self.cursors),
            self.unallocated_joules,
            self.unknown_joules,
            self.ended_joules,
        )

    def _book(self, joules: float, *, busy_ratio: float) -> None:
        # Joules of unidentified work are unknown; joules used while nothing ran are unallocated.
        self.unknown_joules += joules * busy_ratio
        self.unallocated_joules += joules * (1.0 - busy_ratio)
