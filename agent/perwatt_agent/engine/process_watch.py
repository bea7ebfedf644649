"""Detector of several processes that serve one page in turn, such as two engines behind one address."""

from collections import deque
from collections.abc import Collection, Mapping

from perwatt_agent.engine.metrics_page import Labels, replica_of
from perwatt_agent.net.prometheus_text import Series

# Pages in a row without a change of process, before the page is believed again: five minutes at the usual
# interval. With fewer, chance would often send so many requests to one process.
CALM_PAGES = 60
_MAX_KNOWN = 16
# Counts fell in three of eight pages that could be read: no engine restarts as often.
_RECENT_PAGES, _MAX_FALLS = 8, 2
# An increase is plausible up to this multiple of the second largest of three or more: the largest may be a
# change of process.
_PLAUSIBLE = 3.0
# A return is exact up to this share of the distance between two processes.
_EXACT = 0.1

Counts = Mapping[Series, float]


class ProcessWatch:
    """
    Watches the counters of one page for processes that serve it in turn.

    A restart is one change to new counts. Several processes change back: to the start time of an earlier one,
    or to its counts, as if they had never fallen. *breakdown_labels* do not tell replicas apart.
    """

    def __init__(self, breakdown_labels: Collection[str]) -> None:
        self._breakdown_labels = breakdown_labels
        self._reset(None, {})

    def update(self, process_start: float | None, counts: Counts) -> bool:
        """
        Return whether several processes serve the page in turn.

        *process_start* and *counts* are on its newest version; *counts* are those of the engine itself. The
        answer is True from the first return to an earlier process until CALM_PAGES pages in a row show no
        change.
        """
        changed, returned = self._start_changed(process_start)
        fell, resumed = self._counts_changed(counts)
        self._falls.append(fell and sum(counts.values()) > 0.0)
        if returned or resumed or (fell and sum(self._falls) > _MAX_FALLS):
            self._calm_pages_needed = CALM_PAGES
        elif changed or fell:
            self._calm_pages_needed = CALM_PAGES if self._calm_pages_needed else 0
        elif self._calm_pages_needed:
            self._calm_pages_needed -= 1
            if not self._calm_pages_needed:
                self._reset(process_start, dict(counts))
        return bool(self._calm_pages_needed)

    def _reset(self, start: float | None, last: Counts) -> None:
        self._start = start
        self._earlier_starts: deque[float] = deque(maxlen=_MAX_KNOWN)
        self._last = last
        self._left: deque[Counts] = deque(maxlen=_MAX_KNOWN)
        self._increases: list[float] = []  # the largest three
        self._falls: deque[bool] = deque(maxlen=_RECENT_PAGES)
        self._calm_pages_needed = 0

    def _start_changed(self, start: float | None) -> tuple[bool, bool]:
        """Return whether the process changed, and whether to an earlier one."""
        before = self._start
        if start is None or start == before:
            return False, False
        self._start = start
        if before is None:
            return False, False
        returned = start in self._earlier_starts
        if before not in self._earlier_starts:
            self._earlier_starts.append(before)
        return True, returned

    def _counts_changed(self, counts: Counts) -> tuple[bool, bool]:
        """Return whether the counts fell, and whether they are now those of an earlier process."""
        before, self._last = self._last, dict(counts)
        if not before or not counts:
            return False, False
        if self._fell(before, counts):
            # Counts that a restart cannot explain: more than the engine makes between two pages.
            is_old = before.keys().isdisjoint(counts) or sum(counts.values()) > self._plausible()
            resumed = is_old and self._resume(before, counts, self._plausible())
            if not resumed:
                self._left.append(before)
            return True, resumed
        increase = _total(counts) - _total(before)
        if increase > self._plausible() and self._resume(before, counts, self._plausible()):
            return False, True
        self._increases = sorted((*self._increases, increase), reverse=True)[:3]
        return False, False

    def _plausible(self) -> float:
        if not self._increases:
            return 0.0
        return _PLAUSIBLE * self._increases[1 if len(self._increases) == 3 else 0]

    def _fell(self, before: Counts, counts: Counts) -> bool:
        """Return whether no replica that had counted continues, as after a restart."""
        common = before.keys() & counts.keys()
        if not common:
            return True
        counted = {self._replica(series) for series in common if before[series] > 0.0}
        return bool(counted) and counted <= {
            self._replica(series) for series in common if counts[series] < before[series]
        }

    def _resume(self, before: Counts, counts: Counts, plausible: float) -> bool:
        """Return whether *counts* continue those of a process that was left, which *before* then is."""
        for place, left in enumerate(self._left):
            distance = abs(_total(left) - _total(before))
            beyond = _total(counts) - _total(left)
            continues = all(counts.get(series, -1.0) >= value for series, value in left.items())
            if continues and _total(left) > 0.0 and beyond <= max(plausible, _EXACT * distance):
                self._left[place] = before
                return True
        return False

    def _replica(self, series: Series) -> Labels:
        return replica_of(series, self._breakdown_labels)


def _total(counts: Counts) -> float:
    return sum(counts.values())
