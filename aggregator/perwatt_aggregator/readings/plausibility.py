"""Plausibility of readings: what power, time and a rate allow, and which fall is a reset."""

from collections.abc import Callable, Mapping

from perwatt_aggregator.readings.bounds import LIMIT_RATIO, RESET_DELAY_SECONDS, bound_of
from perwatt_aggregator.readings.column import Column
from perwatt_aggregator.readings.facts import MAX_GROUP_GPUS
from perwatt_aggregator.readings.restarts import Restarts
from perwatt_aggregator.readings.row_store import RowStore
from perwatt_aggregator.readings.sample import WORKLOAD_COVERED, WORKLOAD_ENERGY, Counter, NodeSample

OTHER_MODEL = "other_model"
"""No fault: the seconds of a workload are now those of another model. They add nothing."""


class Plausibility:
    """
    Checks the pages of one node against what is known of it.

    *columns* are its counters as far as they were read before, and *unix* is the time of a row of them.
    """

    def __init__(self, columns: RowStore[Counter, Column], unix: Callable[[int], float]) -> None:
        self._columns = columns
        self._unix = unix
        self._restarts = Restarts(columns)
        self._limit_watts: dict[str, float] = {}
        self._gpus: dict[str, frozenset[str]] = {}

    def refusals(self, sample: NodeSample, row: int) -> Mapping[Counter, str]:
        """The counters of *sample*, in *row*, whose reading does not count, and why. Check each page once."""
        self._learn(sample, row)
        found = {}
        for counter, raw in sample.counters.items():
            column = self._columns.get(counter)
            if column is not None and raw != column.raw:
                reason = self._refusal(counter, column, raw)
                if reason:
                    found[counter] = reason
        return found

    def _learn(self, sample: NodeSample, row: int) -> None:
        self._sample = sample
        # A limit that is lowered now was higher a moment ago.
        self._limit_watts = {
            gpu.gpu: max(self._limit_watts.get(gpu.gpu, 0.0), gpu.power_limit_watts)
            for gpu in sample.gpus.values()
            if gpu.power_limit_watts
        }
        gpus: dict[str, set[str]] = {}
        for counter in sample.counters:
            if counter.name == WORKLOAD_ENERGY:
                gpus.setdefault(counter.workload, set()).add(counter.gpu)
        self._gpus = {name: frozenset(found) for name, found in gpus.items()}
        self._restarts.update(sample, row, self._max_since_reset)

    def _refusal(self, counter: Counter, column: Column, raw: float) -> str:
        if column.makes_up(raw):
            return "unwitnessed_reset"
        if raw > column.raw:
            is_possible = raw - column.raw <= self._max_increase(counter, column)
            reason = "implausible_value"
        else:
            is_possible = self._restarts.explain(counter, column, raw)
            reason = "unwitnessed_reset"
        if is_possible:
            return ""
        return OTHER_MODEL if counter.name == WORKLOAD_COVERED and self._has_other_model(counter) else reason

    def _max_increase(self, counter: Counter, column: Column) -> float:
        """The most that a counter can have risen since it last moved."""
        bound = bound_of(counter.name)
        delay = bound.first_delay_seconds if column.moved_row is None else bound.delay_seconds
        if counter.part in self._sample.meter_periods:
            delay += 3.0 * self._sample.meter_periods[counter.part]
        return (self._seconds(column) + delay) * self._per_second(counter)

    def _max_since_reset(self, counter: Counter, column: Column) -> float:
        """The most that a counter can show if it began at 0 since it last moved."""
        return (self._seconds(column) + RESET_DELAY_SECONDS) * self._per_second(counter)

    def _seconds(self, column: Column) -> float:
        """Seconds since a counter last moved, as far as its rows are kept."""
        moved = column.first_row if column.moved_row is None else column.moved_row
        return self._sample.unix_seconds - self._unix(moved)

    def _per_second(self, counter: Counter) -> float:
        bound = bound_of(counter.name)
        if bound.is_of_gpu:
            limit = self._limit_watts.get(counter.gpu)
            return bound.per_second if limit is None else min(bound.per_second, LIMIT_RATIO * limit)
        if not counter.workload or counter.name == WORKLOAD_COVERED:
            return bound.per_second
        facts = self._sample.workloads.get(counter.workload)
        in_group = MAX_GROUP_GPUS if facts is not None and facts.group else 1
        return bound.per_second * max(in_group, len(self._gpus.get(counter.workload, ())))

    def _has_other_model(self, clock: Counter) -> bool:
        before = {
            counter.model
            for counter in self._columns.live
            if counter.name == WORKLOAD_ENERGY and counter.workload == clock.workload
        }
        now = {
            counter.model
            for counter in self._sample.counters
            if counter.name == WORKLOAD_ENERGY and counter.workload == clock.workload
        }
        return before != now
