"""Window cache of one node: windows that are requested again are computed when a reading arrives."""

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

# A window that was not requested for so many readings is dropped.
_MAX_IDLE_ROWS = 12
_MAX_WINDOWS = 8

T = TypeVar("T")


class _Entry(Struct, Generic[T], frozen=True):
    """A window: the row of its last request, the rows between the last requests, the row of its result."""

    requested_row: int
    gaps: tuple[int, ...]
    computed_row: int
    result: T

    def is_due(self, row: int) -> bool:
        """Whether the next request is expected before the reading after *row*; none after a single one."""
        return bool(self.gaps) and row - self.requested_row >= min(self.gaps) - 1


class WindowCache(Generic[T]):
    """
    What *compute* gives for a window of some seconds, at most once for each reading.

    A reading computes only the windows that are due, as the last requests came, so that requests are answered
    at once, and a window that nobody requests any more costs nothing.
    """

    def __init__(self, compute: Callable[[float], T]) -> None:
        self._compute = compute
        self._entries: dict[float, _Entry[T]] = {}

    def get(self, seconds: float, row: int) -> T:
        """The window of *seconds* up to the newest reading, which is in *row*."""
        entry = self._entries.get(seconds)
        if entry is not None and entry.requested_row == row == entry.computed_row:
            return entry.result
        is_current = entry is not None and entry.computed_row == row
        result = entry.result if entry is not None and is_current else self._compute(seconds)
        gaps: tuple[int, ...] = ()
        if entry is not None:
            gap = row - entry.requested_row
            gaps = (gap, *entry.gaps[:1]) if gap > 0 else entry.gaps
        self._entries[seconds] = _Entry(row, gaps, row, result)
        if len(self._entries) > _MAX_WINDOWS:
            del self._entries[next(iter(self._entries))]
        return result

    def refresh(self, row: int) -> None:
        """Compute the windows that are due with the reading in *row*; drop those that are not requested."""
        for seconds, entry in list(self._entries.items()):
            if not 0 <= row - entry.requested_row <= _MAX_IDLE_ROWS:
                del self._entries[seconds]
            elif entry.is_due(row):
                result = self._compute(seconds)
                self._entries[seconds] = _Entry(entry.requested_row, entry.gaps, row, result)
