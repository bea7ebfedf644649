"""Counters of one job's work in one unit; each counts nothing twice."""

from typing import Protocol

from perwatt_agent.work.report import WorkReport

MAX_KEYS = 256

Reporter = int | None
"""The rank of a reporter, or None if it has none."""


class WorkCounter(Protocol):
    """One job's count of one unit. `total` decreases only if `add` returns that it was reset."""

    total: float

    def add(self, report: WorkReport) -> bool:
        """Count a report. Return whether the count was reset."""
        ...


class GlobalTotals:
    """
    Every reporter gives the total of the whole job. The highest counts.

    If a reporter's own total decreases, the job was restarted, and counting continues from that total. The
    other reporters belong to the new run when their totals decrease too, and to the old run until then.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._run = 0
        self._reported: dict[Reporter, tuple[int, float]] = {}

    def add(self, report: WorkReport) -> bool:
        run, before = self._reported.get(report.rank, (self._run, 0.0))
        is_reset = False
        if report.amount < before:
            is_reset = run == self._run
            self._run += is_reset
            run = self._run
        self._reported[report.rank] = (run, report.amount)
        if is_reset:
            self.total = report.amount
        elif run == self._run:
            self.total = max(self.total, report.amount)
        return is_reset


class RankTotals:
    """
    Every rank gives its own total. The increases of all ranks add up.

    Counting starts at a rank's first total, as the joules of earlier work were not measured for it. If the
    total of a rank decreases, the rank was restarted, and all of its new total counts.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._reported: dict[Reporter, float] = {}

    def add(self, report: WorkReport) -> bool:
        before = self._reported.get(report.rank, report.amount)
        self._reported[report.rank] = report.amount
        self.total += report.amount - before if report.amount >= before else report.amount
        return False


class Increments:
    """
    Every report is new work, unless its key is among the last MAX_KEYS keys of the job, over all units.

    With scope rank, a key belongs to its rank. Otherwise it belongs to the job: if many ranks report the same
    step with the same key, one report counts.
    """

    def __init__(self, keys: dict[int, None]) -> None:
        self.total = 0.0
        self._keys = keys

    def add(self, report: WorkReport) -> bool:
        # The hash takes less memory than the key, and a collision is practically impossible.
        key = hash((report.unit, report.rank if report.scope == "rank" else None, report.key))
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > MAX_KEYS:
            del self._keys[next(iter(self._keys))]
        self.total += report.amount
        return False


def counter_for(report: WorkReport, keys: dict[int, None]) -> WorkCounter:
    """Return the counter for the counting mode of *report*; *keys* are the recent keys of its job."""
    if report.increment is not None:
        return Increments(keys)
    return RankTotals() if report.scope == "rank" else GlobalTotals()
