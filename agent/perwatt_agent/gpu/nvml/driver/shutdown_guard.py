"""Shutdown guard: the driver is never shut down during a call, and never called after its shutdown."""

import threading

from perwatt_agent.gpu.backend import GenerationEnded


class ShutdownGuard:
    """
    Counts the calls in flight of one generation. Every call is made within `with guard:`.

    Entering raises GenerationEnded once the guard is closed, so that a late read cannot reach the driver.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._in_flight = 0
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        return self._in_flight > 0

    def close(self, wait_seconds: float) -> bool:
        """Let no further call begin; whether all calls in flight have ended after *wait_seconds*."""
        with self._lock:
            self._is_closed = True
            return self._ended.wait_for(lambda: not self.is_busy, wait_seconds)

    def __enter__(self) -> None:
        with self._lock:
            if self._is_closed:
                raise GenerationEnded("its generation has ended")
            self._in_flight += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._in_flight -= 1
            if self._is_closed:
                self._ended.notify_all()
