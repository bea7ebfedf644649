"""Cache of what one node adds to groups, for as long as its parts are the same."""

from collections.abc import Hashable
from typing import Generic, TypeVar

# Of groupings with their filters: clients repeat few of them.
_MAX_GROUPINGS = 4

T = TypeVar("T")


class ShareCache(Generic[T]):
    """The shares of one node by grouping; whoever has other parts of the node needs another cache."""

    __slots__ = ("_by_grouping",)

    def __init__(self) -> None:
        self._by_grouping: dict[Hashable, T] = {}

    def get(self, grouping: Hashable) -> T | None:
        return self._by_grouping.get(grouping)

    def keep(self, grouping: Hashable, shares: T) -> None:
        """Keep *shares*, and drop the oldest of too many."""
        self._by_grouping[grouping] = shares
        if len(self._by_grouping) > _MAX_GROUPINGS:
            del self._by_grouping[next(iter(self._by_grouping))]
