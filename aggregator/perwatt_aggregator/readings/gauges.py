"""Recent gauge values of one node: a ring buffer for each gauge."""

import math
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
        self._capacity = capacity
        self._max_gauges = max_gauges
        self._rows: dict[Gauge, array[float]] = {}
        self._last_row: dict[Gauge, int] = {}

    def add(self, row: int, values: Iterable[tuple[Gauge, float | None]]) -> None:
        """Add the values of a row; a gauge without a value in the whole ring is dropped."""
        for rows in self._rows.values():
            rows[row % self._capacity] = _NAN
        for gauge, value in values:
            if value is not None and self._has_slot(gauge):
                self._rows[gauge][row % self._capacity] = value
                self._last_row[gauge] = row
        for gauge in [gauge for gauge, last in self._last_row.items() if row - last >= self._capacity]:
            del self._rows[gauge], self._last_row[gauge]

    def _has_slot(self, gauge: Gauge) -> bool:
        if gauge not in self._rows and len(self._rows) < self._max_gauges:
            self._rows[gauge] = array("d", [_NAN]) * self._capacity
        return gauge in self._rows

    def at(self, gauge: Gauge, row: int) -> float:
        """The value in a row; NaN if there is none."""
        rows = self._rows.get(gauge)
        return _NAN if rows is None else rows[row % self._capacity]

    def values(self, gauge: Gauge, first: int, last: int) -> Iterator[float]:
        """The values from row *first* to *last*."""
        readings = (self.at(gauge, row) for row in range(first, last + 1))
        return (value for value in readings if not math.isnan(value))
