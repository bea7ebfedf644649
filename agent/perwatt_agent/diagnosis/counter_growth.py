"""Growth of a counter within a recent window."""

from collections import deque

_MAX_STEPS = 128


class CounterGrowth:
    """
    Growth of one counter within the last `window_seconds`: how much it `gained`, in how many `steps`.
    """

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._last: float | None = None
        self._steps: deque[tuple[float, float]] = deque(maxlen=_MAX_STEPS)
        self.gained = 0.0
        self.steps = 0

    def add(self, now: float, count: float | None) -> None:
        """Add the count at *now*; None is unknown, and a lower count is a reset."""
        steps = self._steps
        while steps and now - steps[0][0] > self._window_seconds:
            steps.popleft()
        if count is not None:
            if self._last is not None and count > self._last:
                steps.append((now, count - self._last))
            self._last = count
        self.gained = sum([step for _, step in steps]) if steps else 0.0
        self.steps = len(steps)
