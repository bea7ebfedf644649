"""Row store: the recent values of many series, each kept only for the rows in which it was read."""

import math
from array import array
from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Generic, Protocol, TypeVar

SERIES_BYTES = 640
"""Memory of one series beside its values and its labels, as measured."""
VALUE_BYTES = 8

_NAN = math.nan


class Key(Hashable, Protocol):
    """The identity of a series: a tuple of strings, of which one is its name."""

    @property
    def name(self) -> str: ...

    def __iter__(self) -> Iterator[str]: ...


class Rows:
    """The values of one series from its first row to its last row; NaN in a row in between without one."""

    __slots__ = ("first_row", "last_row", "values")

    def __init__(self, row: int, value: float) -> None:
        self.first_row = row
        self.last_row = row
        self.values = array("d", (value,))

    def append(self, value: float) -> None:
        """Add the value of the next row."""
        self.values.append(value)
        self.last_row += 1

    def at(self, row: int) -> float:
        """The value in a row; NaN if there is none."""
        return self.values[row - self.first_row] if self.first_row <= row <= self.last_row else _NAN

    def drop_before(self, row: int) -> int:
        """Drop the values of earlier rows; return how many there were."""
        count = row - self.first_row
        if count <= 0:
            return 0
        del self.values[:count]
        self.first_row = row
        return count


K = TypeVar("K", bound=Key)
R = TypeVar("R", bound=Rows)


class RowStore(Generic[K, R]):
    """
    Series by their keys. A live one has a value in the newest row; the others ended, and cost nothing more.

    An ended series is dropped when its last value leaves the newest *capacity* rows. `bytes` is the memory of
    all series.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # So many rows are dropped at once, because dropping one value moves all others.
        self._slack = max(1, capacity // 8)
        self.live: dict[K, R] = {}
        self._ended: dict[str, dict[K, R]] = {}
        self._keys_bytes = 0
        self._count = 0
        self._values = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[K]:
        return chain(self.live, *self._ended.values())

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: K) -> R:
        rows = self.get(key)
        if rows is None:
            raise KeyError(key)
        return rows

    @property
    def bytes(self) -> int:
        return self._keys_bytes + self._count * SERIES_BYTES + self._values * VALUE_BYTES

    def get(self, key: K) -> R | None:
        """The series, live or ended; None if there is none."""
        return self.live.get(key) or self._ended.get(key.name, {}).get(key)

    def start(self, key: K, rows: R) -> None:
        """Add a series whose first value is in the newest row."""
        self.live[key] = rows
        self._count += 1
        self._keys_bytes += _bytes_of(key)

    def resume(self, key: K, row: int) -> R | None:
        """The series, live and ready for the value of *row*; None if it must be started."""
        rows = self.live.get(key)
        if rows is None and (rows := self._ended.get(key.name, {}).pop(key, None)) is not None:
            skipped = row - rows.last_row - 1
            rows.values.extend((_NAN,) * skipped)
            rows.last_row += skipped
            self._values += skipped
            self.live[key] = rows
        return rows

    def end_row(self, row: int) -> list[K]:
        """Finish a row: series without a value in it have ended. Return the keys that are dropped."""
        for key in [key for key, rows in self.live.items() if rows.last_row < row]:
            self._ended.setdefault(key.name, {})[key] = self.live.pop(key)
        self._values += len(self.live)
        first_row = row - self._capacity + 1
        if row % self._slack == 0:
            self._values -= sum(rows.drop_before(first_row) for rows in self.live.values())
        return list(self._expired(first_row))

    def ended_since(self, row: int) -> Iterator[tuple[K, R]]:
        """The ended series with a value after *row*, the latest first within each name."""
        for ended in self._ended.values():
            for key, rows in reversed(ended.items()):
                if rows.last_row <= row:
                    break
                yield key, rows

    def ended_of(self, name: str) -> Iterator[tuple[K, R]]:
        """All ended series of one name that are kept."""
        yield from self._ended.get(name, {}).items()

    def _expired(self, first_row: int) -> Iterator[K]:
        for ended in self._ended.values():
            while ended:
                key = next(iter(ended))
                rows = ended[key]
                if rows.last_row >= first_row:
                    break
                del ended[key]
                self._count -= 1
                self._keys_bytes -= _bytes_of(key)
                self._values -= len(rows.values)
                yield key


def _bytes_of(key: Key) -> int:
    return sum(map(len, key))
