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

_MAIN_COUNTS = frozenset((OUTPUT_TOKENS, PROMPT_TOKENS, EFFECTIVE_TOKENS, REQUESTS, WORK))
_ENGINE = BUCKETS | _MAIN_COUNTS | {WASTED_TOKENS, ENGINE_FLOPS}
_WORKLOAD = frozenset((WORKLOAD_ENERGY, WORKLOAD_COVERED))
_GPU = frozenset((GPU_COVERED, UNATTRIBUTED))
_METERS = frozenset((NODE_ENERGY, NODE_COVERED, HOST_CPU_ENERGY, HOST_DRAM_ENERGY))


class Restarts:
    """What the newest page of one node shows of restarts; `columns` are the counters before it."""

    def __init__(self, columns: RowStore[Counter, Column]) -> None:
        self._columns = columns
        self._counters: Mapping[Counter, float] = {}
        self._agent_start: float | None = None
        self._engine_starts: dict[str, float] = {}
        self._has_agent_restarted: bool | None = None
        self._restarted_engines: dict[str, bool] = {}
        self._engines_going_on: frozenset[str] | None = None

    def update(self, sample: NodeSample, max_since_reset: Callable[[Counter, Column], float]) -> None:
        """Take in a page; *max_since_reset* is the most that a reset counter can show."""
        self._counters = sample.counters
        self._max_since_reset = max_since_reset
        self._has_agent_restarted = _is_later(self._agent_start, sample.start_unix_seconds)
        if sample.start_unix_seconds is not None:
            self._agent_start = max(sample.start_unix_seconds, self._agent_start or 0.0)
        self._engines_going_on = None
        self._restarted_engines = {}
        known, self._engine_starts = self._engine_starts, {}
        for name, workload in sample.workloads.items():
            before, start = known.get(name), workload.start_unix_seconds
            is_later = _is_later(before, start)
            if is_later is not None:
                self._restarted_engines[name] = is_later
            latest = max((one for one in (before, start) if one is not None), default=None)
            if latest is not None:
                self._engine_starts[name] = latest

    def explain(self, counter: Counter, column: Column, raw: float) -> bool:
        """Whether the fall of *counter* to *raw* is a reset: it can have counted so much, and it is shown."""
        if raw > self._max_since_reset(counter, column):
            return False
        name = counter.name
        if name in _ENGINE:
            return bool(self._has_agent_restarted) or self._engine_restarted(counter.workload, column)
        if name in _WORKLOAD:
            engine = self._restarted_engines.get(counter.workload, False)
            return bool(self._has_agent_restarted) or engine or self._began_again(counter)
        if name in _GPU:
            return bool(self._has_agent_restarted) or self._began_again(counter)
        if name in _METERS and self._has_agent_restarted is not None:
            return self._has_agent_restarted
        if name == NODE_ENERGY:
            return self._began_again(counter)
        # An agent shows the fall of a driver's counter only if the driver can have counted so much since.
        return True

    def _engine_restarted(self, workload: str, column: Column) -> bool:
        """Whether an engine restarted: by its start, else if nothing that it counts went on."""
        known = self._restarted_engines.get(workload)
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


def _is_later(before: float | None, start: float | None) -> bool | None:
    """Whether a start is a later one; None if one of the two is not known."""
    if before is None or start is None:
        return None
    return start > before + TOLERANCE_SECONDS
