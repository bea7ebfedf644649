"""Recent gauge values of one node, in the rows of its ring."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from perwatt_aggregator.readings.row_store import Rows, RowStore

RUNNING = "requests_running"
UP = "gpu_up"
SM_ACTIVE = "gpu_sm_active"
TENSOR_ACTIVE = "gpu_tensor_active"

_NAN = math.nan


class Gauge(NamedTuple):
    """A gauge and its owner: a workload's name or a GPU's UUID."""

    name: str
    owner: str


class Gauges:
    """The latest *capacity* rows of at most *max_gauges* gauges; NaN where a gauge has no value."""

    def __init__(self, capacity: int, max_gauges: int) -> None:
        self._max_gauges = max_gauges
        self._store: RowStore[Gauge, Rows] = RowStore(capacity)

    @property
    def bytes(self) -> int:
        return self._store.bytes

    def __len__(self) -> int:
        return len(self._store)

    def add(self, row: int, values: Iterable[tuple[Gauge, float | None]]) -> None:
        """Add the values of a row; a gauge without a value in the whole ring is dropped."""
        store = self._store
        for gauge, value in values:
            if value is None:
                continue
            rows = store.resume(gauge, row)
            if rows is not None:
                rows.append(value)
            elif len(store) < self._max_gauges:
                store.start(gauge, Rows(row, value))
        store.end_row(row)

    def has(self, gauge: Gauge) -> bool:
        """Whether the gauge has a value in the ring."""
        return gauge in self._store

    def at(self, gauge: Gauge, row: int) -> float:
        """The value in a row; NaN if there is none."""
        rows = self._store.get(gauge)
        return _NAN if rows is None else rows.at(row)

    def slice(self, gauge: Gauge, first: int, last: int) -> Sequence[float]:
        """The values from row *first* to *last*, NaN in a row without one; empty if there is none at all."""
        rows = self._store.get(gauge)
        return () if rows is None else [rows.at(row) for row in range(first, last + 1)]

    def values(self, gauge: Gauge, first: int, last: int) -> Iterator[float]:
        """The values from row *first* to *last*."""
        return (value for value in self.slice(gauge, first, last) if not math.isnan(value))
