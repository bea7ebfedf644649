"""Identity scan: reads the identity of every GPU. A GPU that hangs does not delay the others."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

# To start a thread takes longer than to read several identities: one thread reads them all, and after this
# time each GPU that still waits gets a thread.
SHARED_THREAD_SECONDS = 0.02


class IdentityScan(Generic[T]):
    """
    Reads identities by the index of the GPU, on daemon threads.

    While the read of an index hangs, no other is started for it, in whatever generation: there is never more
    than one such thread for an index.
    """

    def __init__(self, shared_thread_seconds: float = SHARED_THREAD_SECONDS) -> None:
        self._shared_thread_seconds = shared_thread_seconds
        self._late: dict[int, _Read[T]] = {}

    @property
    def is_outdated(self) -> bool:
        """Whether a read that hung has returned since, so that another scan finds more."""
        return any(not read.hangs for read in tuple(self._late.values()))

    def run(self, read: Callable[[int], T], count: int, timeout_seconds: float) -> dict[int, T]:
        """The identities by index that came in time. What *read* raised is raised."""
        hanging = {index: one for index, one in self._late.items() if one.hangs}
        started = {index: _Read(read, index) for index in range(count) if index not in hanging}
        waiting = deque(started.values())
        _start_thread(waiting)
        _wait(started.values(), self._shared_thread_seconds)
        for _ in range(len(waiting)):
            _start_thread(waiting)
        _wait(started.values(), timeout_seconds - self._shared_thread_seconds)
        late = {index: one for index, one in started.items() if one.hangs}
        self._late = hanging | late
        return {index: one.result() for index, one in started.items() if index not in late}


class _Read(Generic[T]):
    """The read of one GPU's identity, which may never return."""

    def __init__(self, read: Callable[[int], T], index: int) -> None:
        self._read = read
        self._index = index
        self._done = threading.Event()
        self._result: T
        self._error: BaseException | None = None

    @property
    def hangs(self) -> bool:
        return not self._done.is_set()

    def run(self) -> None:
        try:
            self._result = self._read(self._index)
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self._error = error.with_traceback(None)  # a traceback keeps the read and its arguments alive
        self._done.set()

    def wait(self, seconds: float) -> None:
        self._done.wait(max(0.0, seconds))

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result


def _start_thread(waiting: deque[_Read[T]]) -> None:
    """Start a thread that makes the waiting reads, one after the other."""

    def work() -> None:
        with suppress(IndexError):  # none waits any more
            while True:
                waiting.popleft().run()

    threading.Thread(target=work, name="identify", daemon=True).start()


def _wait(reads: Iterable[_Read[T]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for read in reads:
        read.wait(deadline - time.monotonic())
