"""Health of one collector: counts of attempts and failures."""

from collections import Counter

from perwatt_agent.facts.snapshot import CollectorHealth


class Health:
    """
    Counts the failures of a collector. `failed` may be called several times within one attempt, as for
    several GPUs; `attempted` ends the attempt.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures: Counter[str] = Counter()
        self._success = False
        self._failing = False
        self._last_success: float | None = None
        self._duration_seconds: float | None = None
        self._shown: CollectorHealth | None = None

    def failed(self, reason: str) -> None:
        self.noted(reason)
        self._failing = True

    def noted(self, reason: str) -> None:
        """Count a failure that leaves the attempt a success."""
        self._failures[reason] += 1
        self._shown = None

    def attempted(self, unix_seconds: float, duration_seconds: float) -> None:
        self._success, self._failing = not self._failing, False
        self._duration_seconds = duration_seconds
        self._shown = None
        if self._success:
            self._last_success = unix_seconds

    def snapshot(self) -> CollectorHealth:
        """The health of now: the same object until the next attempt or failure."""
        if self._shown is None:
            self._shown = CollectorHealth(
                self._name,
                self._success,
                self._last_success,
                self._duration_seconds,
                tuple(sorted(self._failures.items())),
            )
        return self._shown
