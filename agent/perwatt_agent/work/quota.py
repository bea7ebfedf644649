"""Quota of a limited number of places: nobody takes more than half of what the others leave."""

from collections import Counter

OPERATOR = ""
"""The owner of what the operator configured, such as text files: it has no share, only the limit."""


class Quota:
    """
    Places that owners take and free.

    As one owner has at most half of what the others leave, one that takes all that it can get never keeps a
    newcomer out.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used: Counter[str] = Counter()
        self._total = 0

    def fits(self, owner: str, places: int) -> bool:
        """Return whether *owner* may take so many places more; what it has, it keeps."""
        if places <= 0:
            return True
        if self._total + places > self.limit:
            return False
        used = self._used[owner]
        share = max(1, (self.limit - (self._total - used) + 1) // 2)
        return owner == OPERATOR or used + places <= share

    def take(self, owner: str, places: int) -> None:
        """Take places, or free them if negative."""
        self._total += places
        self._used[owner] += places
        if not self._used[owner]:
            del self._used[owner]
