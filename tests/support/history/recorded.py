"""A fleet whose ticks are recorded when the test says so, and a writer of ticks as a process of its own."""

from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.history.history import History
from perwatt_aggregator.history.reader import HistoryQuery
from perwatt_aggregator.history.store import RAW_SECONDS, HistoryStore
from perwatt_aggregator.history.values import NAMES, PLACE, Kept, Tick
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary
from perwatt_aggregator.schema.history import HistoryItem


def history_at(path: Path, clock: Clock, max_pages: int | None = None, **config: object) -> History:
    """An open history in the file at *path*."""
    settings = HistoryConfig(path=path, **config)  # type: ignore[arg-type]
    history = History(settings, HistoryStore(settings, path, max_pages), clock)
    history.open()
    return history


def tick_of(start: int, joules: float = 15.0, owner: str = '{"model":"m","node":"n","workload":"w"}') -> Tick:
    """A tick of one owner that is measured and covered: so many joules, and as many tokens."""
    values = [0.0] * len(NAMES)
    for name in ("expected", "covered", "covered_at_node", "gpu_board", "node", "output"):
        values[PLACE[name]] = joules if name in ("gpu_board", "node", "output") else float(RAW_SECONDS)
    values[PLACE["readings"]] = 3.0
    return Tick(start, RAW_SECONDS, {owner: Kept(values, frozenset(("+joules", "+output")))})


async def items(
    aggregator: Aggregator,
    start: float,
    end: float,
    step: int,
    *by: str,
    boundaries: tuple[Boundary, ...] = BOUNDARIES,
) -> tuple[HistoryItem, ...]:
    """The items of a range in Unix seconds."""
    answer = await aggregator.past.series(HistoryQuery(int(start), int(end), step, by), boundaries)
    return answer.items
