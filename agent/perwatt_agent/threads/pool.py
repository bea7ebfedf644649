"""
Thread pool for driver calls. A call that hangs blocks its own thread and nothing else.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class NotStarted(Exception):
    """No thread was free for a call before its batch ended, so the call was not made."""


class Call(Generic[T]):
    """One call of a batch. `submitted_at` is in monotonic seconds."""

    def __init__(self, function: Callable[[], T], submitted_at: float) -> None:
        self._function = function
        self._result: T
        self._error: BaseException | None = None
        self.submitted_at = submitted_at
        self.is_done = False

    def run(self) -> None:
        """Make the call in this thread."""
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - every failure belongs to whoever reads the result
            self._error = error.with_traceback(None)  # a traceback keeps the call and its arguments alive
        self.is_done = True

    def cancel(self) -> None:
        """End a call that no thread has started."""
        self._error = NotStarted("no thread was free for it")
        self.is_done = True

    def result(self) -> T:
        """Return what the call returned, or raise, once, what it raised. The call must be done."""
        if self._error is None:
            return self._result
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # it refers to this frame, which must not refer to it


class ThreadPool:
    """
    Daemon threads that make calls, batch by batch.

    There are as many threads as the largest batch has calls, and one more for each call that hangs. They
    start when they are first needed, and they never keep the process from exiting.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # The thread that was idle for the shortest time works next: its caches are the warmest.
        self._idle: list[SimpleQueue[_Batch | None]] = []
        self._largest_batch = 0
        self._cannot_start = False

    async def run(self, calls: Sequence[Call[T]], timeout_seconds: float) -> None:
        """
        Return when all calls are done, or after *timeout_seconds*. Calls that were started by then go on, and
        the others are cancelled.
        """
        if not calls:
            return
        self._largest_batch = max(self._largest_batch, len(calls))
        batch = _Batch(calls)
        self._wake_one(batch)
        timeout = asyncio.get_running_loop().call_later(timeout_seconds, batch.end)
        try:
            await batch.ended
        finally:
            timeout.cancel()
            batch.cancel_waiting()

    def _wake_one(self, batch: "_Batch") -> None:
        try:
            self._idle.pop().put(batch)
        except IndexError:
            self._start_thread(batch)

    def _start_thread(self, batch: "_Batch") -> None:
        """Start another thread on this batch, if the system allows one more."""
        batches: SimpleQueue[_Batch | None] = SimpleQueue()
        batches.put(batch)
        try:
            threading.Thread(target=self._work, args=(batches,), name=self._name, daemon=True).start()
        except RuntimeError:
            if not self._cannot_start:
                logger.warning("cannot start a thread to read GPUs: raise TasksMax or pids.max")
            self._cannot_start = True
        else:
            self._cannot_start = False

    def _work(self, batches: "SimpleQueue[_Batch | None]") -> None:
        while (batch := batches.get()) is not None:
            call = batch.take()
            # Each thread wakes the next one: threads that all wake at once first wait for each other.
            if batch.waiting:
                self._wake_one(batch)
            was_last = False
            while call is not None:
                call.run()
                was_last = batch.count_done()
                call = batch.take()
            # Before the end is reported: the next batch may come at once.
            self._idle.append(batches)
            if was_last:
                batch.report_end()
            del batch, call
            self._stop_surplus()

    def _stop_surplus(self) -> None:
        """A thread whose call hung was replaced. When the call returns, there is one thread too many."""
        if len(self._idle) > self._largest_batch:
            with suppress(IndexError):
                self._idle.pop(0).put(None)


class _Batch:
    """Calls that are made together: each thread takes the next one, until none is `waiting`."""

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._unfinished = len(calls)
        self._lock = threading.Lock()
        self.waiting: deque[Call[Any]] = deque(calls)
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def take(self) -> Call[Any] | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def count_done(self) -> bool:
        """Count a call that is done; True for the last one."""
        with self._lock:
            self._unfinished -= 1
            return self._unfinished == 0

    def cancel_waiting(self) -> None:
        while (call := self.take()) is not None:
            call.cancel()

    def report_end(self) -> None:
        """Called by the thread that made the last call."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """Called on the loop, by a timeout or for `report_end`."""
        if not self.ended.done():
            self.ended.set_result(None)
