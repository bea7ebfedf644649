"""
Thread pool for calls that may hang: a call that never returns blocks its own thread and nothing else.
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


class NotMade(Exception):
    """No thread was free for a call in time, and the call will not be made."""


class Call(Generic[T]):
    """One call of a batch; `since` is when it was handed over, in monotonic seconds."""

    def __init__(self, function: Callable[[], T], since: float) -> None:
        self._function = function
        self._result: T
        self._error: BaseException | None = None
        self.since = since
        self.over = False

    def make(self) -> None:
        """Make the call in this thread."""
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - every failure belongs to whoever asks for the result
            self._error = error.with_traceback(None)  # which would hold the call, and all that it met
        self.over = True

    def withdraw(self) -> None:
        """End a call that was not begun."""
        self._error = NotMade("no thread came to it")
        self.over = True

    def result(self) -> T:
        """Return what the call returned, or raise, once, what it raised; it must be over."""
        if self._error is None:
            return self._result
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # it holds this frame, which is not to hold it


class Crew:
    """
    Daemon threads that make calls, batch by batch, each call once.

    There are as many threads as the largest batch has calls, and one more for each call that hangs: they are
    started when they are needed, and the process can always exit.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # The thread that rested least works next: its caches are the warmest.
        self._resting: list[SimpleQueue[_Batch | None]] = []
        self._most_calls = 0
        self._short_handed = False

    async def make(self, calls: Sequence[Call[T]], wait_seconds: float) -> None:
        """
        Return when all calls are over, or *wait_seconds* have passed: those that were begun go on, and those
        that were not never will be.
        """
        if not calls:
            return
        self._most_calls = max(self._most_calls, len(calls))
        batch = _Batch(calls)
        self._wake_one(batch)
        deadline = asyncio.get_running_loop().call_later(wait_seconds, batch.end)
        try:
            await batch.over
        finally:
            deadline.cancel()
            batch.withdraw()

    def _wake_one(self, batch: "_Batch") -> None:
        try:
            self._resting.pop().put(batch)
        except IndexError:
            self._hire(batch)

    def _hire(self, batch: "_Batch") -> None:
        """Start another thread on this batch; where their number is limited there may be none."""
        batches: SimpleQueue[_Batch | None] = SimpleQueue()
        batches.put(batch)
        try:
            threading.Thread(target=self._work, args=(batches,), name=self._name, daemon=True).start()
        except RuntimeError:
            if not self._short_handed:
                logger.warning("cannot start a thread to read GPUs: raise TasksMax or pids.max")
            self._short_handed = True
        else:
            self._short_handed = False

    def _work(self, batches: "SimpleQueue[_Batch | None]") -> None:
        while (batch := batches.get()) is not None:
            call = batch.take()
            # Each thread wakes the next: threads that are all woken at once wait for each other first.
            if batch.waiting:
                self._wake_one(batch)
            was_last = False
            while call is not None:
                call.make()
                was_last = batch.note_made()
                call = batch.take()
            # Before the end is reported: whoever waits for it may have the next batch at once.
            self._resting.append(batches)
            if was_last:
                batch.report_end()
            del batch
            self._dismiss_surplus()

    def _dismiss_surplus(self) -> None:
        """A thread whose call hung was replaced: when it is back, there is one more than can work."""
        if len(self._resting) > self._most_calls:
            with suppress(IndexError):
                self._resting.pop(0).put(None)


class _Batch:
    """Calls of which each thread takes the next, until none waits."""

    def __init__(self, calls: Sequence[Call[Any]]) -> None:
        self._loop = asyncio.get_running_loop()
        self.waiting: deque[Call[Any]] = deque(calls)
        self._unfinished = len(calls)
        self._lock = threading.Lock()
        self.over: asyncio.Future[None] = self._loop.create_future()

    def take(self) -> Call[Any] | None:
        try:
            return self.waiting.popleft()
        except IndexError:
            return None

    def note_made(self) -> bool:
        """Count a call that is over; whether it was the last."""
        with self._lock:
            self._unfinished -= 1
            return self._unfinished == 0

    def withdraw(self) -> None:
        """End the calls that nobody has begun."""
        while (call := self.take()) is not None:
            call.withdraw()

    def report_end(self) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """Let the waiter go on; to be called on the loop."""
        if not self.over.done():
            self.over.set_result(None)
