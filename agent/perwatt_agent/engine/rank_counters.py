"""What ranks of an engine counted before they vanished, or started anew by themselves."""

from collections.abc import Mapping

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.metrics_page import is_count, rank_of
from perwatt_agent.net.prometheus_text import Series

MOST_GONE = 4096


class RankCounters:
    """
    Keep the sums of one engine from falling while it lives: what a rank counted was counted.

    A rank that vanishes keeps its last value, one that starts anew adds to it. Of series that vanished
    *most_gone* are remembered one by one, older ones as a sum.
    """

    def __init__(self, kind: EngineKind, most_gone: int = MOST_GONE) -> None:
        self._kind = kind
        self._most_gone = most_gone
        self._shown: dict[Series, float] = {}
        self._gone: dict[Series, float] = {}
        self._lost: dict[Series, float] = {}  # what each series counted in its earlier lives

    def outlives(self, shown: Mapping[Series, float]) -> bool:
        """
        Return whether the counters *shown* are those of a newer engine.

        They are when some rank had counted, and none goes on from where it was.
        """
        counted: set[tuple[str, ...]] = set()
        fell: set[tuple[str, ...]] = set()
        present = {self._rank(series) for series in shown if self._tells(series)}
        for series, before in (self._gone | self._shown).items():
            if before > 0.0 and self._tells(series):
                counted.add(self._rank(series))
                if shown.get(series, before) < before:
                    fell.add(self._rank(series))
        return bool(counted) and not (counted & present) - fell

    def complete(self, shown: Mapping[Series, float]) -> dict[Series, float]:
        """Return the counters *shown* on a page, and with them what is no longer shown."""
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

    def _tells(self, series: Series) -> bool:
        # Not every counter: an HTTP server beside the engine has counters of its own.
        return series.name in self._kind.recognised_by

    def _rank(self, series: Series) -> tuple[str, ...]:
        return rank_of(series, self._kind.rank_labels)

    def _fold(self) -> None:
        """Bound what is kept: the oldest of the gone lose the labels of their rank, and become one sum."""
        while len(self._gone) > self._most_gone:
            series = next(iter(self._gone))
            rest = Series(
                series.name, tuple(pair for pair in series.labels if pair[0] not in self._kind.rank_labels)
            )
            counted = self._gone.pop(series) + self._lost.pop(series, 0.0)
            self._lost[rest] = self._lost.get(rest, 0.0) + counted
