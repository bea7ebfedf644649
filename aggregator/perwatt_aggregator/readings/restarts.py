"""
Restarts that a page shows: of its agent, and of its engines.

A counter that falls was reset, or it is another counter. Only a restart that the page shows, or a clock that
began again with the counter, tells the two apart.
"""

from collections.abc import Callable, Iterator, Mapping

from perwatt_aggregator.readings.column import Column
from perwatt_aggregator.readings.row_store import RowStore
from perwatt_aggregator.readings.sample import (
    BUCKETS,
    EFFECTIVE_TOKENS,
    ENGINE_FLOPS,
    GPU_COVERED,
    HOST_CPU_ENERGY,
    HOST_DRAM_ENERGY,
    NODE_COVERED,
    NODE_ENERGY,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    UNATTRIBUTED,
    WASTED_TOKENS,
    WORK,
    WORKLOAD_COVERED,
    WORKLOAD_ENERGY,
    Counter,
    NodeSample,
)

TOLERANCE_SECONDS = 2.0
"""Starts are known to the second or better."""
MAX_UNTIMED_RESETS = 2
"""Within the history of a ring, of an engine whose start is not known: no engine restarts as often."""
_SPARE_ENGINES = 64

_MAIN_COUNTS = frozenset((OUTPUT_TOKENS, PROMPT_TOKENS, EFFECTIVE_TOKENS, REQUESTS, WORK))
_ENGINE = BUCKETS | _MAIN_COUNTS | {WASTED_TOKENS, ENGINE_FLOPS}
_WORKLOAD = frozenset((WORKLOAD_ENERGY, WORKLOAD_COVERED))
_GPU = frozenset((GPU_COVERED, UNATTRIBUTED))
_METERS = frozenset((NODE_ENERGY, NODE_COVERED, HOST_CPU_ENERGY, HOST_DRAM_ENERGY))


class _Process:
    """
    The start of an agent or of an engine, as its pages show it.

    `known_row` is the first row with a start, `later_row` the newest with a later start than before.
    """

    __slots__ = ("is_shown", "known_row", "later_row", "start")

    def __init__(self) -> None:
        self.start: float | None = None
        self.is_shown = False
        self.known_row = 0
        self.later_row = -1

    def update(self, row: int, start: float | None) -> None:
        """Take in the start that the page of *row* shows."""
        self.is_shown = start is not None
        if start is None:
            return
        if self.start is None:
            self.start, self.known_row = start, row
            return
        if start > self.start + TOLERANCE_SECONDS:
            self.later_row = row
        self.start = max(start, self.start)

    def has_restarted_since(self, row: int) -> bool | None:
        """Whether it restarted after the page of *row*; None if that is not known."""
        if self.later_row > row:
            return True
        return False if self.is_shown and self.known_row <= row else None


class Restarts:
    """
    What the pages of one node show of restarts; `columns` are the counters before the newest page.

    A counter may be missing on the pages after a restart, while its engine or its meter is not read yet. So a
    restart explains the fall of each counter that was not read since.
    """

    def __init__(self, columns: RowStore[Counter, Column]) -> None:
        self._columns = columns
        self._counters: Mapping[Counter, float] = {}
        self._agent = _Process()
        self._engines: dict[str, _Process] = {}
        self._engines_going_on: frozenset[str] | None = None

    def update(
        self, sample: NodeSample, row: int, max_since_reset: Callable[[Counter, Column], float]
    ) -> None:
        """Take in the page of *row*; *max_since_reset* is the most that a reset counter can show."""
        self._counters = sample.counters
        self._max_since_reset = max_since_reset
        self._engines_going_on = None
        self._agent.update(row, sample.start_unix_seconds)
        for name, workload in sample.workloads.items():
            engine = self._engines.get(name)
            if engine is None:
                engine = self._engines[name] = _Process()
            engine.update(row, workload.start_unix_seconds)
        if len(self._engines) > 2 * len(sample.workloads) + _SPARE_ENGINES:
            self._drop_ended(sample)

    def _drop_ended(self, sample: NodeSample) -> None:
        """Drop the engines of which no counter is kept."""
        self._engines = {
            name: engine
            for name, engine in self._engines.items()
            if name in sample.workloads or Counter(WORKLOAD_COVERED, workload=name) in self._columns
        }

    def explain(self, counter: Counter, column: Column, raw: float) -> bool:
        """Whether the fall of *counter* to *raw* is a reset: it can have counted so much, and it is shown."""
        if raw > self._max_since_reset(counter, column):
            return False
        name = counter.name
        agent = self._agent.has_restarted_since(column.last_row)
        if name in _ENGINE:
            return bool(agent) or self._engine_restarted(counter.workload, column)
        if name in _WORKLOAD:
            return bool(agent or self._start_is_later(counter.workload, column)) or self._began_again(counter)
        if name in _GPU:
            return bool(agent) or self._began_again(counter)
        if name in _METERS and agent is not None:
            return agent
        if name == NODE_ENERGY:
            return self._began_again(counter)
        # An agent shows the fall of a driver's counter only if the driver can have counted so much since.
        return True

    def _start_is_later(self, workload: str, column: Column) -> bool | None:
        engine = self._engines.get(workload)
        return None if engine is None else engine.has_restarted_since(column.last_row)

    def _engine_restarted(self, workload: str, column: Column) -> bool:
        """Whether an engine restarted: by its start, else if nothing that it counts went on."""
        known = self._start_is_later(workload, column)
        if known is not None:
            return known
        if self._engines_going_on is None:
            self._engines_going_on = frozenset(self._find_engines_going_on())
        return workload not in self._engines_going_on and len(column.resets) < MAX_UNTIMED_RESETS

    def _find_engines_going_on(self) -> Iterator[str]:
        """The workloads with a count that did not fall; all at once, because many may fall on one page."""
        for counter, column in self._columns.live.items():
            if counter.name in _MAIN_COUNTS and self._counters.get(counter, -1.0) >= column.raw > 0.0:
                yield counter.workload

    def _began_again(self, counter: Counter) -> bool:
        """Whether the seconds that belong to *counter* began again since the page before."""
        clock = {
            WORKLOAD_ENERGY: Counter(WORKLOAD_COVERED, workload=counter.workload),
            WORKLOAD_COVERED: counter,
            UNATTRIBUTED: Counter(GPU_COVERED, gpu=counter.gpu),
            GPU_COVERED: counter,
            NODE_ENERGY: Counter(NODE_COVERED, part=counter.part),
        }[counter.name]
        column, seconds = self._columns.get(clock), self._counters.get(clock)
        if column is None or seconds is None:
            return False
        return seconds < column.raw and seconds <= self._max_since_reset(clock, column)
