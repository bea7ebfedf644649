"""One GPU's joules and whose they are: its holders', nobody's, or still waiting for a holder's page."""

import math

from msgspec import Struct

from perwatt_agent.accounting.energy_timeline import EnergyTimeline, TimelinePoint, Used
from perwatt_agent.accounting.split import Split, equally
from perwatt_agent.facts.workload import Method


class GpuAccountState(Struct, frozen=True):
    """
    What outlives a restart of the agent.

    `points` has one for every instant up to which a holder is settled, so that nothing is interpolated
    anew, and the newest; the ledger goes on from there. `ended_joules` are those of workloads that are
    over and forgotten.
    """

    points: tuple[TimelinePoint, ...]
    cursors: dict[str, float]
    unallocated_joules: float
    unknown_joules: float
    ended_joules: float = 0.0


class GpuAccount:
    """
    Keep one GPU's joules apart by owner.

    At every instant: what was taken by holders + unallocated + unknown + waiting = the GPU's accepted
    joules. `cursors` tell up to when each holder is settled. Holders join and leave at the instant of
    the last reading, and share what the board uses while they hold it; `method` says how at last.
    """

    def __init__(self, state: GpuAccountState | None = None) -> None:
        self.track = EnergyTimeline(state.points if state else ())
        self.cursors = dict(state.cursors) if state else {}
        self.unallocated_joules = state.unallocated_joules if state else 0.0
        self.unknown_joules = state.unknown_joules if state else 0.0
        self.ended_joules = state.ended_joules if state else 0.0
        self.method: Method | None = None
        self.works = False
        """Whether the GPU was at work when it was last read."""
        self.resting: frozenset[str] = frozenset()
        """Holders whose part of the GPU was not."""
        self.seen_at: float | None = None
        """When the GPU was first read in this run of the agent."""

    @property
    def read_at(self) -> float:
        """When the GPU was last read; before all time if never."""
        last = self.track.last
        return float("-inf") if last is None else last.monotonic_seconds

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

        *split* divides it among the holders, by default equally. What nobody holds is booked at once.
        """
        self.seen_at = monotonic_seconds if self.seen_at is None else self.seen_at
        before = self.track.last
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
        self.track.add(monotonic_seconds, accepted_joules, covered_seconds, busy=busy, shares=shares)
        if before is not None and not self.cursors and monotonic_seconds > before.monotonic_seconds:
            joules = max(0.0, accepted_joules - before.accepted_joules)
            self._book(joules, busy_ratio=float(busy))

    def join(self, name: str) -> None:
        """Let a workload hold the GPU from the last reading on, unless it does already."""
        self.cursors.setdefault(name, max(self.read_at, 0.0))

    def leave(self, name: str) -> None:
        """Let a workload go; what waited for its page stays unexplained."""
        self.give_up(name, self.read_at)
        del self.cursors[name]

    def take(self, name: str, start: float, end: float) -> Used:
        """Settle a holder up to *end*, which a reading has passed; return what it is to account for."""
        self.cursors[name] = max(self.cursors[name], end)
        return self.track.used(start, end, name)

    def give_up(self, name: str, until: float) -> None:
        """Book a holder's joules up to *until*, as far as they were read, as unexplained."""
        until = min(until, self.read_at)
        if until > self.cursors[name]:
            used = self.take(name, self.cursors[name], until)
            self._book(used.joules, busy_ratio=used.busy_ratio)

    def waiting_joules(self) -> float:
        last = self.track.last
        if last is None:
            return 0.0
        return sum(last.share(name) - self.track.at(at).share(name) for name, at in self.cursors.items())

    def forget(self) -> None:
        """Drop the past that no holder waits for."""
        self.track.forget(min(self.cursors.values()) if self.cursors else math.inf)

    def state(self) -> GpuAccountState | None:
        last = self.track.last
        if last is None:
            return None
        points = {last.monotonic_seconds: last}
        for instant in self.cursors.values():
            point = self.track.at(instant)
            points.setdefault(point.monotonic_seconds, point)
        return GpuAccountState(
            tuple([points[instant] for instant in sorted(points)]),
            dict(self.cursors),
            self.unallocated_joules,
            self.unknown_joules,
            self.ended_joules,
        )

    def _book(self, joules: float, *, busy_ratio: float) -> None:
        # What ran and whose it was is unknown; what was used while nothing ran was allocated to nobody.
        self.unknown_joules += joules * busy_ratio
        self.unallocated_joules += joules * (1.0 - busy_ratio)
