"""Who is inside the driver: it is never shut down under a call, and after that nobody calls it."""

import threading

from perwatt_agent.gpu.backend import GenerationEnded


class Gate:
    """
    The way into the driver for one generation; a call is made within `with gate:`.

    Raises GenerationEnded once it is shut, so that a read that was put off cannot come in any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        self._inside = 0
        self._is_shut = False

    @property
    def busy(self) -> bool:
        return self._inside > 0

    def shut(self, wait_seconds: float) -> bool:
        """Let nobody in any more; whether all who were inside have left by then."""
        with self._lock:
            self._is_shut = True
            return self._left.wait_for(lambda: not self.busy, wait_seconds)

    def __enter__(self) -> None:
        with self._lock:
            if self._is_shut:
                raise GenerationEnded("its generation is over")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._is_shut:
                self._left.notify_all()
