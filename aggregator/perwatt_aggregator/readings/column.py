"""Column of a ring: how much one counter increased since its first reading."""

import math

from perwatt_aggregator.readings.row_store import Rows


class Column(Rows):
    """
    One counter: its increase since its first reading, per row; NaN in a row without a reading.

    `moved_row` is the row in which it last moved; None until it moves. `fell_by` is how far it fell in a
    reading that was refused, until it has made up for that; None if there is no such reading. `recorded` is
    how much of the increase since the first reading is in the history.
    """

    __slots__ = ("fell_by", "moved_row", "raw", "recorded", "resets", "total", "uncounted")

    def __init__(self, row: int, raw: float) -> None:
        super().__init__(row, 0.0)
        self.raw = raw
        self.total = 0.0
        self.recorded = 0.0
        self.moved_row: int | None = None
        self.fell_by: float | None = None
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
        if counts:
            self.total += increase
        elif increase:
            self.uncounted += (self.last_row + 1,)
        self._append_total(raw)
        return increase

    def refuse(self, raw: float) -> None:
        """Add a reading that adds nothing; the next one adds what is beyond it."""
        self.fell_by = self.raw - raw if raw < self.raw else None
        self._append_total(raw)

    def makes_up(self, raw: float) -> bool:
        """Whether one step makes up for a fall that was refused: then the counter before it is back."""
        return self.fell_by is not None and raw - self.raw >= self.fell_by

    def _append_total(self, raw: float) -> None:
        if raw != self.raw:
            self.raw = raw
            self.moved_row = self.last_row + 1
        self.append(self.total)

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

    def next_move(self, first: int, last: int) -> int | None:
        """The first row after *first* up to *last* in which the counter moved; None if it did not."""
        start = max(first, self.first_row)
        before = self.at(start)
        rows = range(start + 1, min(last, self.last_row) + 1)
        return next((row for row in rows if self.at(row) > before), None)

    def moves(self, first: int, last: int) -> int:
        """The number of rows after *first* up to *last* in which the counter moved."""
        first, last = max(first, self.first_row), min(last, self.last_row)
        count, before = 0, self.at(first)
        for row in range(first + 1, last + 1):
            value = self.at(row)
            count += value > before
            before = before if math.isnan(value) else value
        return count
