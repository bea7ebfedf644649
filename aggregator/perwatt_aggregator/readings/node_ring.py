"""
Ring buffer of the recent samples of one node: a column of increases for each counter.

Memory: 8 bytes for each series and row. With 200 series (8 GPUs, 8 workloads) and 15 minutes at 5 s
that is 290 kB per node. MAX_SERIES bounds the memory that a page with too many series can take.
"""

import math
from array import array
from collections.abc import Iterator
from itertools import pairwise

from perwatt_aggregator.readings.gauges import RUNNING, SM_ACTIVE, TENSOR_ACTIVE, UP, Gauge, Gauges
from perwatt_aggregator.readings.page_owner import PageOwner
from perwatt_aggregator.readings.sample import (
    BUCKETS,
    EFFECTIVE_TOKENS,
    ENGINE_FLOPS,
    OUTPUT_TOKENS,
    PROMPT_TOKENS,
    REQUESTS,
    SM_CYCLES,
    WASTED_TOKENS,
    WORK,
    WORKLOAD_COVERED,
    Counter,
    NodeSample,
)

MAX_SERIES = 8192
# The node's clock and the aggregator's monotonic clock may differ by this much between two readings.
CLOCK_TOLERANCE_SECONDS = 10.0

_TOKENS = {OUTPUT_TOKENS, PROMPT_TOKENS, EFFECTIVE_TOKENS, WASTED_TOKENS}
_COUNTS = BUCKETS | _TOKENS | {REQUESTS, WORK, ENGINE_FLOPS}
_NAN = math.nan


class TooManySeries(Exception):
    """The page of the node has more series than a ring holds."""


class Column:
    """One counter: its increase since its first reading, per row; NaN in a row without a reading."""

    __slots__ = ("last_row", "raw", "resets", "rows", "total", "uncounted")

    def __init__(self, capacity: int, row: int, raw: float) -> None:
        self.rows = array("d", [_NAN]) * capacity
        self.rows[row % capacity] = 0.0
        self.raw = raw
        self.total = 0.0
        self.last_row = row
        self.resets: list[int] = []
        self.uncounted: list[int] = []

    def is_reset_by(self, raw: float) -> bool:
        return raw < self.raw

    def add(self, row: int, raw: float, *, counts: bool) -> float:
        """Add a reading and return the increase. A smaller value is a reset: then all of it is new."""
        increase = raw - self.raw
        if increase < 0.0:
            increase = raw
            self.resets.append(row)
        self.raw = raw
        if counts:
            self.total += increase
        elif increase:
            self.uncounted.append(row)
        self.rows[row % len(self.rows)] = self.total
        self.last_row = row
        return increase


class Attribution:
    """
    The latest attribution of a workload: up to when its tokens and joules were counted.

    `step_seconds` is the time that the latest attribution covered. A gap that is shorter may only be the
    phase between the agent's readings of the engine and the aggregator's readings of the agent.
    """

    __slots__ = ("row", "step_seconds", "unix_seconds")

    def __init__(self, row: int, unix_seconds: float) -> None:
        self.row = row
        self.unix_seconds = unix_seconds
        self.step_seconds = 0.0


class NodeRing:
    """
    The readings of one node over `history_seconds`, at least `interval_seconds` apart.

    Rows are numbered from 0 for the first reading ever; the ring holds those from `first_row` to
    `last_row`. A series without a reading in the whole ring is dropped.
    """

    def __init__(self, history_seconds: float, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        # One more row for both ends of the longest window, and one for readings that come early.
        self._capacity = math.ceil(history_seconds / interval_seconds) + 2
        self._owner = PageOwner()
        self._clear()

    def _clear(self) -> None:
        self.last_row = -1
        self.sample: NodeSample | None = None
        self._unix = array("d", [_NAN]) * self._capacity
        self.columns: dict[Counter, Column] = {}
        self.attributions: dict[str, Attribution] = {}
        self.calibration_ratios: dict[str, float] = {}
        self.divergence_ratios: dict[str, float | None] = {}
        self.gauges = Gauges(self._capacity, MAX_SERIES)
        self._after_gap_row = 0

    @property
    def first_row(self) -> int:
        return max(0, self.last_row - self._capacity + 1)

    @property
    def gap_seconds(self) -> float:
        """Two readings that are further apart than this have a gap between them."""
        return 3.0 * self.interval_seconds

    def __len__(self) -> int:
        return self.last_row - self.first_row + 1

    def unix(self, row: int) -> float:
        """When the agent took the reading of this row, by the agent's clock."""
        return self._unix[row % self._capacity]

    def add(self, sample: NodeSample) -> bool:
        """
        Add a reading; return False if it is the newest one again. Raises TooManySeries.

        If the node's clock was set, or if another agent is behind the address, older readings cannot be
        compared any more: they are dropped.
        """
        if len(sample.counters) > MAX_SERIES:
            raise TooManySeries(f"{len(sample.counters)} series, more than {MAX_SERIES}")
        last = self.sample
        if last is not None and sample.unix_seconds == last.unix_seconds:
            return False
        is_other_agent = self._owner.update(sample)
        if last is not None and (is_other_agent or _clock_was_set(last, sample)):
            self._clear()
        self._append(sample)
        return True

    def has_several_agents(self, now: float) -> bool:
        """Whether several agents have served the page in turn lately, at monotonic time *now*."""
        return self._owner.has_several(now)

    def increase(self, counter: Counter, first: int, last: int) -> float | None:
        """
        The increase of a counter between two rows; None if it was not read twice.

        If it has no reading in one of the two rows, its nearest reading in between counts.
        """
        rows, capacity = self.columns[counter].rows, self._capacity
        grown = rows[last % capacity] - rows[first % capacity]
        if first < last and not math.isnan(grown):
            return grown
        span = self.span(counter, first, last)
        return None if span is None else rows[span[1] % capacity] - rows[span[0] % capacity]

    def span(self, counter: Counter, first: int, last: int) -> tuple[int, int] | None:
        """The first and the last row in between with a reading; None if the counter was not read twice."""
        rows, capacity = self.columns[counter].rows, self._capacity
        while first < last and math.isnan(rows[first % capacity]):
            first += 1
        while last > first and math.isnan(rows[last % capacity]):
            last -= 1
        return (first, last) if first < last else None

    def attributed_row(self, counter: Counter, row: int) -> int:
        """The latest row up to *row* in which the counter moved, or else its first row."""
        rows, capacity = self.columns[counter].rows, self._capacity
        value = rows[row % capacity]
        if math.isnan(value):
            return row
        while row > self.first_row and rows[(row - 1) % capacity] == value:
            row -= 1
        return row

    def moves(self, counter: Counter, first: int, last: int) -> int:
        """The number of rows after *first* up to *last* in which the counter moved."""
        rows, capacity = self.columns[counter].rows, self._capacity
        count, before = 0, rows[first % capacity]
        for row in range(first + 1, last + 1):
            value = rows[row % capacity]
            count += value > before
            before = before if math.isnan(value) else value
        return count

    def max_running(self, workload: str, first: int, last: int) -> float | None:
        """The maximum of a workload's running requests in these rows; None if no row has a value."""
        return max(self.gauges.values(Gauge(RUNNING, workload), first, last), default=None)

    def mean(self, gauge: Gauge, first: int, last: int) -> tuple[float, float] | None:
        """
        Mean of a gauge over the time that its values cover, and that time in seconds; None if there is none.

        A value covers the time since the row before, unless there is a gap.
        """
        covered = total = 0.0
        for row in range(first + 1, last + 1):
            seconds, value = self.unix(row) - self.unix(row - 1), self.gauges.at(gauge, row)
            if seconds <= self.gap_seconds and not math.isnan(value):
                covered += seconds
                total += value * seconds
        return (total / covered, covered) if covered else None

    def largest_gap_seconds(self, first: int, last: int) -> float:
        instants = [self.unix(row) for row in range(first, last + 1)]
        return max((later - earlier for earlier, later in pairwise(instants)), default=0.0)

    def row_near(self, unix_seconds: float) -> int:
        """The row that is nearest to an instant."""
        low, high = self.first_row, self.last_row
        while low < high:
            middle = (low + high) // 2
            if self.unix(middle) < unix_seconds:
                low = middle + 1
            else:
                high = middle
        if low > self.first_row and unix_seconds - self.unix(low - 1) <= self.unix(low) - unix_seconds:
            return low - 1
        return low

    def _append(self, sample: NodeSample) -> None:
        row = self.last_row + 1
        if row and sample.unix_seconds - self.unix(row - 1) > self.gap_seconds:
            self._after_gap_row = row
        self.last_row = row
        self.sample = sample
        self._unix[row % self._capacity] = sample.unix_seconds
        uncovered = dict(self._update_attributions(sample, row))
        for counter, column in list(self.columns.items()):
            raw = sample.counters.get(counter)
            if raw is not None:
                column.add(row, raw, counts=self._counts(counter, column.is_reset_by(raw), uncovered))
            elif row - column.last_row >= self._capacity:
                del self.columns[counter]
            else:
                column.rows[row % self._capacity] = _NAN
        for counter in sample.counters.keys() - self.columns.keys():
            self.columns[counter] = Column(self._capacity, row, sample.counters[counter])
        for gpu in sample.gpus.values():
            # A GPU that does not answer keeps the ratio that belongs to its readings in the ring.
            if gpu.up:
                self.calibration_ratios[gpu.gpu] = gpu.calibration_ratio or 1.0
                self.divergence_ratios[gpu.gpu] = gpu.divergence_ratio
        self.gauges.add(row, self._gauge_values(sample))
        self._drop_old()

    def _gauge_values(self, sample: NodeSample) -> Iterator[tuple[Gauge, float | None]]:
        # Only of workloads with counters, because their number is bounded.
        for name in self.attributions.keys() & sample.workloads.keys():
            yield Gauge(RUNNING, name), sample.workloads[name].requests_running
        for gpu in sample.gpus.values():
            yield Gauge(UP, gpu.gpu), float(gpu.up)
            if Counter(SM_CYCLES, gpu=gpu.gpu, part="active") not in sample.counters:
                yield Gauge(SM_ACTIVE, gpu.gpu), gpu.sm_active_ratio
                yield Gauge(TENSOR_ACTIVE, gpu.gpu), gpu.tensor_active_ratio

    def _update_attributions(self, sample: NodeSample, row: int) -> Iterator[tuple[str, bool]]:
        """
        Update the attributions; yield workloads whose joules do not cover the time since the last one.

        With each comes whether the agent ran all that time, so that it observed any restart of the engine.
        """
        for name in sample.workloads:
            counter = Counter(WORKLOAD_COVERED, workload=name)
            raw = sample.counters.get(counter)
            column = self.columns.get(counter)
            if raw is None:
                continue
            if column is None or name not in self.attributions:
                self.attributions[name] = Attribution(row, sample.unix_seconds)
                continue
            covered = raw if column.is_reset_by(raw) else raw - column.raw
            if covered <= 0.0:
                continue
            attribution = self.attributions[name]
            elapsed = sample.unix_seconds - attribution.unix_seconds
            if elapsed - covered > self.gap_seconds:
                yield name, self._after_gap_row <= attribution.row
            attribution.row, attribution.unix_seconds = row, sample.unix_seconds
            attribution.step_seconds = min(covered, elapsed, self.gap_seconds)

    def _counts(self, counter: Counter, is_reset: bool, uncovered: dict[str, bool]) -> bool:
        """
        Whether there are joules for the increase of this counter since its last reading.

        If the agent observed a restart of the engine, its joules cover the engine from its start.
        """
        if counter.name not in _COUNTS or counter.workload not in uncovered:
            return True
        return is_reset and uncovered[counter.workload]

    def _drop_old(self) -> None:
        first_row = self.first_row
        for column in self.columns.values():
            while column.resets and column.resets[0] < first_row:
                del column.resets[0]
            while column.uncounted and column.uncounted[0] < first_row:
                del column.uncounted[0]
        for name in [
            name for name in self.attributions if Counter(WORKLOAD_COVERED, workload=name) not in self.columns
        ]:
            del self.attributions[name]


def _clock_was_set(last: NodeSample, sample: NodeSample) -> bool:
    by_node = sample.unix_seconds - last.unix_seconds
    if by_node < 0.0:
        return True
    # A recording that is replayed at another speed has a clock of its own.
    by_aggregator = sample.monotonic_seconds - last.monotonic_seconds
    return sample.backend != "replay" and by_node - by_aggregator > CLOCK_TOLERANCE_SECONDS
