"""
Increments of one node: by how much its counters increased since they were recorded last.

What is recorded of a counter is kept with the counter, so that increments of consecutive ticks add up to its
increase: nothing is counted twice, and nothing is lost in a gap, at a reset or between two readings.
"""

from collections.abc import Iterator
from itertools import chain

from msgspec import Struct

from perwatt_aggregator.history.values import PLACE
from perwatt_aggregator.readings.column import Column
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.sample import (
    EFFECTIVE_TOKENS,
    NODE_ENERGY,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    UNATTRIBUTED,
    WORK,
    WORKLOAD_COVERED,
    WORKLOAD_ENERGY,
    Counter,
)

_COUNTS: dict[tuple[str, str], int] = {
    (OUTPUT_TOKENS, ""): PLACE["output"],
    (PROMPT_TOKENS, "computed"): PLACE["prompt_computed"],
    (PROMPT_TOKENS, "cached"): PLACE["prompt_cached"],
    (EFFECTIVE_TOKENS, ""): PLACE["effective_output"],
    (REQUESTS, "ok"): PLACE["ok"],
    (REQUESTS, "aborted"): PLACE["aborted"],
    (REQUESTS, "error"): PLACE["error"],
}
_KEPT = frozenset(
    (*(name for name, _ in _COUNTS), WORK, WORKLOAD_COVERED, WORKLOAD_ENERGY, UNATTRIBUTED, NODE_ENERGY)
)

WorkKey = tuple[str, str]
"""A workload and one of its models."""


class WorkIncrement(Struct):
    """Of one workload and model: counts by their place in the values, work by unit, joules, active joules."""

    counts: dict[int, float]
    joules: float = 0.0
    active_joules: float = 0.0


class Increments(Struct):
    """
    Increments of all counters of a node, not recorded yet: `columns` are those that they are from.

    `seconds` is the time that these are from, in so many `readings`. `has_event` if a counter was reset, or
    if tokens came without joules, so that the node is to be looked at closely.
    """

    seconds: float
    readings: int
    work: dict[WorkKey, WorkIncrement]
    units: dict[str, dict[str, float]]
    covered_seconds: dict[str, float]
    unattributed: dict[str, float]
    node_joules: float
    columns: dict[WorkKey, list[Column]]
    has_event: bool

    def record(self, key: WorkKey) -> None:
        """Mark the increments of one owner as recorded."""
        for column in self.columns.pop(key, ()):
            column.recorded = column.total

    def record_all(self) -> None:
        """Mark all increments as recorded."""
        for key in list(self.columns):
            self.record(key)


def increments(ring: NodeRing, recorded_row: int, seconds: float, readings: int) -> Increments:
    """The increments of all counters, over the *readings* after a row and their *seconds*."""
    found = Increments(seconds, readings, {}, {}, {}, {}, 0.0, {}, has_event=False)
    for counter, column in _moved(ring, recorded_row):
        delta = column.total - column.recorded
        found.has_event = found.has_event or _has_event(column, recorded_row)
        if not delta:
            continue
        if counter.name == NODE_ENERGY:
            found.node_joules += delta
            column.recorded = column.total
            continue
        found.columns.setdefault(_owner(counter), []).append(column)
        _add(found, counter, delta, ring.calibration_ratios.get(counter.gpu, 1.0))
    return found


def _moved(ring: NodeRing, recorded_row: int) -> Iterator[tuple[Counter, Column]]:
    for counter, column in chain(ring.columns.live.items(), ring.columns.ended_since(recorded_row)):
        if counter.name in _KEPT:
            yield counter, column


def _has_event(column: Column, recorded_row: int) -> bool:
    return bool(
        (column.resets and column.resets[-1] > recorded_row)
        or (column.uncounted and column.uncounted[-1] > recorded_row)
    )


def _owner(counter: Counter) -> WorkKey:
    if counter.name == UNATTRIBUTED:
        return "", counter.gpu
    # Seconds and work in other units belong to the workload, whatever its models are.
    return counter.workload, "*" if counter.name in (WORKLOAD_COVERED, WORK) else counter.model


def _add(found: Increments, counter: Counter, delta: float, calibration_ratio: float) -> None:
    name = counter.name
    if name == UNATTRIBUTED:
        found.unattributed[counter.gpu] = found.unattributed.get(counter.gpu, 0.0) + delta * calibration_ratio
    elif name == WORKLOAD_COVERED:
        found.covered_seconds[counter.workload] = delta
    elif name == WORK:
        found.units.setdefault(counter.workload, {})[counter.part] = delta
    else:
        key = counter.workload, counter.model
        own = found.work.get(key)
        if own is None:
            own = found.work[key] = WorkIncrement({})
        if name == WORKLOAD_ENERGY:
            own.joules += delta * calibration_ratio
            if counter.part == "active":
                own.active_joules += delta * calibration_ratio
        elif (place := _COUNTS.get((name, counter.part))) is not None:
            own.counts[place] = own.counts.get(place, 0.0) + delta
