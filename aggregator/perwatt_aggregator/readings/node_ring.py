"""
Ring buffer of the recent samples of one node: a column of increases for each counter.

Memory: 8 bytes for each series and each row in which it was read, and SERIES_BYTES for each series. With 200
series (8 GPUs, 8 workloads) and 15 minutes at 5 s that is 420 kB per node. MAX_SERIES bounds one page, and
MAX_HISTORY_BYTES all that is kept of a node, also of series that ended.
"""

import math
from array import array
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from perwatt_aggregator.readings.column import Column
from perwatt_aggregator.readings.gauges import RUNNING, SM_ACTIVE, TENSOR_ACTIVE, UP, Gauge, Gauges
from perwatt_aggregator.readings.page_owner import PageOwner
from perwatt_aggregator.readings.plausibility import OTHER_MODEL, Plausibility
from perwatt_aggregator.readings.row_store import SERIES_BYTES, RowStore
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
MAX_HISTORY_BYTES = 32 * 1024 * 1024
# The node's clock and the aggregator's monotonic clock may differ by this much between two readings.
CLOCK_TOLERANCE_SECONDS = 10.0

_TOKENS = {OUTPUT_TOKENS, PROMPT_TOKENS, EFFECTIVE_TOKENS, WASTED_TOKENS}
_COUNTS = BUCKETS | _TOKENS | {REQUESTS, WORK, ENGINE_FLOPS}
_NAN = math.nan
_SPARE_GPUS = 64


class TooManySeries(Exception):
    """The page of the node has more series than a ring holds."""


class HistoryFull(Exception):
    """The recent readings of the node have more series than its share of memory holds."""


class Refusal(NamedTuple):
    """The newest row in which a counter had a reading that does not count, and why."""

    row: int
    reason: str


class Attribution:
    """
    The latest attribution of a workload: up to when its tokens and joules were counted.

    `step_seconds` is the time that the latest attribution covered. A gap that is shorter may only be the
    phase between the agent's readings of the engine and the aggregator's readings of the agent.
    `forgotten_row` is the newest row up to which the agent does not know what it had attributed before.
    """

    __slots__ = ("forgotten_row", "is_forgotten", "row", "step_seconds", "unix_seconds")

    def __init__(self, row: int, unix_seconds: float) -> None:
        self.row = row
        self.unix_seconds = unix_seconds
        self.step_seconds = 0.0
        self.is_forgotten = False
        self.forgotten_row = -1


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
        self.clear()

    def clear(self) -> None:
        """Drop all readings."""
        self.last_row = -1
        self.sample: NodeSample | None = None
        self._unix = array("d", [_NAN]) * self._capacity
        self.columns: RowStore[Counter, Column] = RowStore(self._capacity)
        self.refused: dict[Counter, Refusal] = {}
        self._plausibility = Plausibility(self.columns, lambda row: self.unix(max(row, self.first_row)))
        self.attributions: dict[str, Attribution] = {}
        self.calibration_ratios: dict[str, float] = {}
        self.divergence_ratios: dict[str, float] = {}
        self.gauges = Gauges(self._capacity, MAX_SERIES)
        self._after_gap_row = 0
        self.in_turn_row = -1
        """The newest row before which the agent refused a page that several engines serve in turn."""

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
        Add a reading; return False if it is the newest one again. Raises TooManySeries and HistoryFull.

        If the node's clock was set, or if another agent is behind the address, older readings cannot be
        compared any more: they are dropped. If they need too much memory, all readings are dropped too.
        """
        series = len(sample.counters) + len(sample.refused)
        if series > MAX_SERIES:
            raise TooManySeries(f"{series} series, more than {MAX_SERIES}")
        last = self.sample
        if last is not None and sample.unix_seconds == last.unix_seconds:
            return False
        is_other_agent = self._owner.update(sample)
        if last is not None and (is_other_agent or _clock_was_set(last, sample)):
            self.clear()
        self._append(sample)
        if self.bytes > MAX_HISTORY_BYTES:
            series = self.series
            self.clear()
            raise HistoryFull(
                f"{series} series of the last {len(self)} readings need more than {MAX_HISTORY_BYTES} bytes"
            )
        return True

    @property
    def series(self) -> int:
        """How many series are kept, ended ones included."""
        return len(self.columns) + len(self.gauges)

    @property
    def bytes(self) -> int:
        """The memory of all series that are kept."""
        return self.columns.bytes + self.gauges.bytes + len(self.refused) * SERIES_BYTES

    def has_several_agents(self, now: float) -> bool:
        """Whether several agents have served the page in turn lately, at monotonic time *now*."""
        return self._owner.has_several(now)

    def has_other_agent(self, now: float) -> bool:
        """Whether another agent has taken the place of one on the page lately, at monotonic time *now*."""
        return self._owner.has_changed(now)

    def increase(self, counter: Counter, first: int, last: int) -> float | None:
        """The increase of a counter between two rows; None if it was not read twice."""
        return self.columns[counter].increase(first, last)

    def span(self, counter: Counter, first: int, last: int) -> tuple[int, int] | None:
        """The first and the last row in between with a reading; None if the counter was not read twice."""
        return self.columns[counter].span(first, last)

    def attributed_row(self, counter: Counter, row: int) -> int:
        """The latest row up to *row* in which the counter moved, or else its first row."""
        column, first_row = self.columns[counter], self.first_row
        value = column.at(row)
        if math.isnan(value):
            return row
        while row > first_row and column.at(row - 1) == value:
            row -= 1
        return row

    def moves(self, counter: Counter, first: int, last: int) -> int:
        """The number of rows after *first* up to *last* in which the counter moved."""
        return self.columns[counter].moves(first, last)

    def next_move(self, counter: Counter, first: int, last: int) -> int | None:
        """The first row after *first* up to *last* in which the counter moved; None if it did not."""
        return self.columns[counter].next_move(first, last)

    def max_running(self, workload: str, first: int, last: int) -> float | None:
        """The maximum of a workload's running requests in these rows; None if no row has a value."""
        return max(self.gauges.values(Gauge(RUNNING, workload), first, last), default=None)

    def mean(self, gauge: Gauge, first: int, last: int) -> tuple[float, float] | None:
        """
        Mean of a gauge over the time that its values cover, and that time in seconds; None if there is none.

        A value covers the time since the row before, unless there is a gap.
        """
        covered = total = 0.0
        for row, value in enumerate(self.gauges.slice(gauge, first + 1, last), first + 1):
            seconds = self.unix(row) - self.unix(row - 1)
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
        if self.sample is not None and sample.pages_in_turn not in (0.0, self.sample.pages_in_turn):
            self.in_turn_row = row
        self.last_row = row
        self.sample = sample
        self._unix[row % self._capacity] = sample.unix_seconds
        refusals = self._plausibility.refusals(sample, row)
        self._refuse(row, {**dict.fromkeys(sample.refused, "implausible_value"), **refusals})
        uncovered = dict(self._update_attributions(sample, row))
        for counter, raw in sample.counters.items():
            column = self.columns.resume(counter, row)
            if column is None:
                self.columns.start(counter, Column(row, raw))
            elif counter in refusals:
                column.refuse(raw)
            else:
                column.add(raw, counts=self._counts(counter, column.is_reset_by(raw), uncovered))
        self.gauges.add(row, self._gauge_values(sample))
        self._update_ratios(sample)
        for counter in self.columns.end_row(row):
            if counter.name == WORKLOAD_COVERED:
                self.attributions.pop(counter.workload, None)

    def _refuse(self, row: int, reasons: Mapping[Counter, str]) -> None:
        if self.refused:
            first_row = self.first_row
            self.refused = {counter: one for counter, one in self.refused.items() if one.row >= first_row}
        for counter, reason in reasons.items():
            if reason != OTHER_MODEL:
                self.refused[counter] = Refusal(row, reason)

    def _update_ratios(self, sample: NodeSample) -> None:
        """Take in the ratios that belong to the readings of GPUs."""
        for gpu in sample.gpus.values():
            # A GPU that does not answer keeps the ratio that belongs to its readings in the ring.
            if gpu.up:
                self.calibration_ratios[gpu.gpu] = gpu.calibration_ratio or 1.0
                if gpu.divergence_ratio is not None:
                    self.divergence_ratios[gpu.gpu] = gpu.divergence_ratio
        self._drop_ratios(sample)

    def _drop_ratios(self, sample: NodeSample) -> None:
        """Drop the ratios of GPUs that no reading in the ring has, once they are many."""
        if len(self.calibration_ratios) > 2 * len(sample.gpus) + _SPARE_GPUS:
            kept = {gpu for gpu in self.calibration_ratios if self.gauges.has(Gauge(UP, gpu))}
            kept.update(sample.gpus)
            self.calibration_ratios = {g: one for g, one in self.calibration_ratios.items() if g in kept}
            self.divergence_ratios = {g: one for g, one in self.divergence_ratios.items() if g in kept}

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
            is_reset = column.is_reset_by(raw)
            covered = raw if is_reset else raw - column.raw
            attribution = self.attributions[name]
            attribution.is_forgotten = attribution.is_forgotten or is_reset
            if attribution.is_forgotten:
                # An agent that lost its memory counts joules anew, and engines go on: seconds are missing.
                attribution.forgotten_row = row
                yield name, False
            if covered <= 0.0:
                continue
            elapsed = sample.unix_seconds - attribution.unix_seconds
            if elapsed - covered > self.gap_seconds and not attribution.is_forgotten:
                yield name, self._after_gap_row <= attribution.row
            attribution.is_forgotten = False
            attribution.row, attribution.unix_seconds = row, sample.unix_seconds
            attribution.step_seconds = min(covered, elapsed, self.gap_seconds)

    def _counts(self, counter: Counter, is_reset: bool, uncovered: dict[str, bool]) -> bool:
        """
        Whether there are joules for the increase of this counter since its last reading.

        If the agent observed a restart of the engine, its joules cover the engine from its start.
        """
        if counter.name == WORKLOAD_COVERED and counter.workload in uncovered:
            return self.attributions[counter.workload].forgotten_row != self.last_row
        if counter.name not in _COUNTS or counter.workload not in uncovered:
            return True
        return is_reset and uncovered[counter.workload]


def _clock_was_set(last: NodeSample, sample: NodeSample) -> bool:
    by_node = sample.unix_seconds - last.unix_seconds
    if by_node < 0.0:
        return True
    # A recording that is replayed at another speed has a clock of its own.
    by_aggregator = sample.monotonic_seconds - last.monotonic_seconds
    return sample.backend != "replay" and by_node - by_aggregator > CLOCK_TOLERANCE_SECONDS
