"""Column of a ring: how much one counter increased since its first reading."""

import math

from perwatt_aggregator.readings.row_store import Rows


class Column(Rows):
    """One counter: its increase since its first reading, per row; NaN in a row without a reading."""

    __slots__ = ("raw", "resets", "total", "uncounted")

    def __init__(self, row: int, raw: float) -> None:
        super().__init__(row, 0.0)
        self.raw = raw
        self.total = 0.0
        self.resets: tuple[int, ...] = ()
        self.uncounted: tuple[int, ...] = ()

    def is_reset_by(self, raw: float) -> bool:
        return raw < self.raw

    def add(self, raw: float, *, counts: bool) -> float:
        """Add a reading and return the increase. A smaller value is a reset: then all of it is new."""
        increase = raw - self.raw
        if increase < 0.0:
            increase = raw
            self.resets += (self.last_row + 1,)
        self.raw = raw
        if counts:
            self.total += increase
        elif increase:
            self.uncounted += (self.last_row + 1,)
        self.append(self.total)
        return increase

    def drop_before(self, row: int) -> int:
        """Drop the values, resets and uncounted increases of earlier rows."""
        if self.resets:
            self.resets = tuple(one for one in self.resets if one >= row)
        if self.uncounted:
            self.uncounted = tuple(one for one in self.uncounted if one >= row)
        return super().drop_before(row)

    def increase(self, first: int, last: int) -> float | None:
        """
        The increase between two rows; None if the counter was not read twice.

        If it has no reading in one of the two rows, its nearest reading in between counts.
        """
        if self.first_row <= first < last <= self.last_row:
            grown = self.values[last - self.first_row] - self.values[first - self.first_row]
            if not math.isnan(grown):
                return grown
        span = self.span(first, last)
        return None if span is None else self.at(span[1]) - self.at(span[0])

    def span(self, first: int, last: int) -> tuple[int, int] | None:
        """The first and the last row in between with a reading; None if the counter was not read twice."""
        first, last = max(first, self.first_row), min(last, self.last_row)
        while first < last and math.isnan(self.at(first)):
            first += 1
        while last > first and math.isnan(self.at(last)):
            last -= 1
        return (first, last) if first < last else None

    def moves(self, first: int, last: int) -> int:
        """The number of rows after *first* up to *last* in which the counter moved."""
        first, last = max(first, self.first_row), min(last, self.last_row)
        count, before = 0, self.at(first)
        for row in range(first + 1, last + 1):
            value = self.at(row)
            count += value > before
            before = before if math.isnan(value) else value
        return count
