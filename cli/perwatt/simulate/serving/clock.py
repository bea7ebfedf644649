"""Clock of a simulated fleet: the machine's, or one that is moved by hand."""

from collections.abc import Callable


class FleetClock:
    """The fleet's Unix time. If it is `is_manual`, it stands still until it is moved."""

    def __init__(self, now: Callable[[], float] | None, unix_seconds: float = 0.0) -> None:
        self._now = now
        self._unix_seconds = unix_seconds

    @property
    def is_manual(self) -> bool:
        return self._now is None

    def unix(self) -> float:
        return self._unix_seconds if self._now is None else self._now()

    def advance(self, seconds: float) -> None:
        """Move a manual clock forward. Raises ValueError for another clock, or backwards."""
        if not self.is_manual or seconds < 0.0:
            raise ValueError("only a manual clock is moved, and only forwards")
        self._unix_seconds += seconds
