"""Answers from the history, if there is one."""

from collections.abc import Sequence

from perwatt_agent.clock import Clock
from perwatt_aggregator.answers.history.efficiency import efficiency_of_history
from perwatt_aggregator.answers.history.series import history_answer
from perwatt_aggregator.fleet.groups import EVERYTHING, Where
from perwatt_aggregator.history.history import History, NoHistory
from perwatt_aggregator.history.reader import HistoryQuery, past_query
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary, Dimension
from perwatt_aggregator.schema.efficiency import Efficiency
from perwatt_aggregator.schema.history import History as HistoryAnswer


class Past:
    """Answers from *history*; None if none is kept. *labels* are the target labels that are dimensions."""

    def __init__(self, history: History | None, labels: Sequence[str], clock: Clock) -> None:
        self.history = history
        self._labels = tuple(labels)
        self._clock = clock

    async def series(self, query: HistoryQuery, boundaries: Sequence[Boundary] = BOUNDARIES) -> HistoryAnswer:
        """The history by step. Raises NoHistory, TooManyGroups and TooManyPoints."""
        return await self._history().read(
            lambda reader: history_answer(reader.sums(query), query, boundaries, self._labels)
        )

    async def efficiency(
        self,
        seconds: float,
        by: Sequence[Dimension] = (),
        boundaries: Sequence[Boundary] = BOUNDARIES,
        where: Where = EVERYTHING,
    ) -> Efficiency:
        """Tokens per joule over the last *seconds*. Raises NoHistory and TooManyGroups."""
        now = self._clock.unix()
        query = past_query(now, seconds, by, where)
        items = await self._history().read(
            lambda reader: efficiency_of_history(
                reader.sums(query), query, boundaries, self._labels, now - query.end
            )
        )
        return Efficiency(by=tuple(by), items=items)

    def _history(self) -> History:
        if self.history is None:
            raise NoHistory("no history is kept; set `history.path` in the aggregator's configuration")
        return self.history
