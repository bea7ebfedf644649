"""Whether a counter grew lately."""

from collections import deque

_MAX_STEPS = 128


class Growth:
    """The steps by which one cumulative count grew within the last `window_seconds`."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._last: float | None = None
        self._steps: deque[tuple[float, float]] = deque(maxlen=_MAX_STEPS)

    def add(self, now: float, count: float | None) -> None:
        """Take in the count at *now*; None is not known, and one that fell has started anew."""
        while self._steps and now - self._steps[0][0] > self._window_seconds:
            self._steps.popleft()
        if count is None:
            return
        if self._last is not None and count > self._last:
            self._steps.append((now, count - self._last))
        self._last = count

    @property
    def gained(self) -> float:
        return sum(step for _, step in self._steps) if self._steps else 0.0

    @property
    def steps(self) -> int:
        """How many readings found it grown."""
        return len(self._steps)
