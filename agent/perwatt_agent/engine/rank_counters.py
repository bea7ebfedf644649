"""Counters of an engine's ranks, kept when a rank disappears or resets."""

from collections.abc import Mapping

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.metrics_page import Labels, is_count, replica_of
from perwatt_agent.net.prometheus_text import Series

MAX_GONE = 4096


class RankCounters:
    """
    Keeps the sums of one engine from decreasing while it runs.

    A rank that disappears keeps its last value. A rank that resets adds to its previous value. The newest
    *max_gone* series that disappeared are kept one by one, older ones as a sum.
    """

    def __init__(self, kind: EngineKind, max_gone: int = MAX_GONE) -> None:
        self._kind = kind
        self._breakdown_labels = kind.breakdown_labels()
        self._max_gone = max_gone
        self._shown: dict[Series, float] = {}
        self._gone: dict[Series, float] = {}
        self._lost: dict[Series, float] = {}  # what each series counted before its resets

    def is_restart(self, shown: Mapping[Series, float]) -> bool:
        """
        Return whether the counters *shown* are those of a restarted engine.

        They are if some rank had counted, and no rank continues from its previous value.
        """
        counted: set[Labels] = set()
        fell: set[Labels] = set()
        present = {self._rank(series) for series in shown if self._is_engine_counter(series)}
        for series, before in (self._gone | self._shown).items():
            if before > 0.0 and self._is_engine_counter(series):
                counted.add(self._rank(series))
                if shown.get(series, before) < before:
                    fell.add(self._rank(series))
        return bool(counted) and not (counted & present) - fell

    def complete(self, shown: Mapping[Series, float]) -> dict[Series, float]:
        """Return the counters *shown* on a page, plus what disappeared ranks and earlier resets counted."""
        counts = {series: value for series, value in shown.items() if is_count(value)}
        before = self._gone | self._shown
        for series, value in counts.items():
            if value < before.get(series, 0.0):
                self._lost[series] = self._lost.get(series, 0.0) + before[series]
        self._gone = {series: value for series, value in before.items() if series not in counts}
        self._shown = counts
        self._fold()
        whole = self._gone | dict(shown)
        for series, lost in self._lost.items():
            whole[series] = whole.get(series, 0.0) + lost
        return whole

    def _is_engine_counter(self, series: Series) -> bool:
        # Other counters are not evidence: an HTTP server beside the engine has counters of its own.
        return series.name in self._kind.recognised_by

    def _rank(self, series: Series) -> Labels:
        return replica_of(series, self._breakdown_labels)

    def _fold(self) -> None:
        """Limit what is kept: the oldest disappeared series lose their rank labels and merge into one sum."""
        while len(self._gone) > self._max_gone:
            series = next(iter(self._gone))
            rest = Series(
                series.name, tuple(pair for pair in series.labels if pair[0] in self._breakdown_labels)
            )
            counted = self._gone.pop(series) + self._lost.pop(series, 0.0)
            self._lost[rest] = self._lost.get(rest, 0.0) + counted
