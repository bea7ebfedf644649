"""Threads that make the calls of a sweep: as few as will do, and none that a hanging call could hold up."""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

from perwatt_agent.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 0.005
PATIENCE_A_CALL_SECONDS = 0.0005
"""A batch that takes longer than this gets a thread for every call that still waits."""
QUICK_SECONDS = 0.0005
"""Waking a thread costs about a fifth of this, so less waiting than this is not divided."""
BATCHES_SIDE_BY_SIDE = 30
"""After as many batches by several threads, one is made by one thread: it alone tells how long calls wait."""


class NotMade(Exception):
    """Nobody came to a call in time, and nobody will."""


class Call(Generic[T]):
    """One call, from when it is handed over, `since` by the monotonic clock, until it is over, if ever."""

    def __init__(self, function: Callable[[], T], since: float) -> None:
        self._function = function
        self._result: T
        self._error: BaseException | None = None
        self.since = since
        self.over = False

    def make(self) -> None:
        """Make the call, here and now."""
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - every failure belongs to whoever asks for the result
            self._error = error.with_traceback(None)  # which would hold the call, and all that it met
        self.over = True

    def withdraw(self) -> None:
        """Let a call that was not begun be over."""
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

    Quick calls are made one after the other by one thread, since to wake a thread costs more than to read
    a GPU; those that wait for the driver side by side, as an earlier batch tells, or as soon as it shows. A
    call that hangs occupies one thread and nothing else, and the process can always exit.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        # Whoever rested least is the next to work: its caches are the warmest.
        self._resting: list[SimpleQueue[_Batch | None]] = []
        self._most_calls = 0
        self._threads = 1
        self._batches_left = 0
        self._waited_seconds = 0.0
        self._short_handed = False

    @property
    def goes_alone(self) -> bool:
        """Whether the next batch is one thread's, as long as it is quick."""
        return not self._batches_left

    async def make(self, calls: Sequence[Call[T]], wait_seconds: float) -> None:
        """
        Return when all calls are over, or *wait_seconds* have passed: those that were begun go on, and those
        that were not never will be.
        """
        if not calls:
            return
        self._most_calls = max(self._most_calls, len(calls))
        batch = _Batch(calls, self._clock)
        threads = 1 if self.goes_alone else self._threads
        self._put_to_work(batch, min(len(calls), threads))
        loop = asyncio.get_running_loop()
        patience_seconds = PATIENCE_SECONDS + len(calls) * PATIENCE_A_CALL_SECONDS
        patience = loop.call_later(patience_seconds, self._reinforce, batch)
        deadline = loop.call_later(wait_seconds, batch.end)
        try:
            await batch.over
        finally:
            patience.cancel()
            deadline.cancel()
            batch.withdraw()
        if self._batches_left:
            self._batches_left -= 1
        else:
            self._learn(batch.waited_seconds)

    def _reinforce(self, batch: "_Batch") -> None:
        self._put_to_work(batch, batch.waiting)

    def _learn(self, waited_seconds: float) -> None:
        """
        A batch by one thread tells how many the next ones are to have.

        By several it would not: threads that compute wait for each other, as if the driver were slow. Nor by
        one batch alone: a busy machine may hold up any.
        """
        waited_seconds, self._waited_seconds = min(waited_seconds, self._waited_seconds), waited_seconds
        self._threads = max(1, math.ceil(waited_seconds / QUICK_SECONDS))
        self._batches_left = BATCHES_SIDE_BY_SIDE if self._threads > 1 else 0

    def _put_to_work(self, batch: "_Batch", threads: int) -> None:
        batch.want(threads)
        self._call_in(batch)

    def _call_in(self, batch: "_Batch") -> None:
        """
        Wake the next thread that is wanted, which wakes the one after it: threads that are all woken at once
        wait for each other before they ask the driver anything.
        """
        if batch.takes_one_more():
            try:
                self._resting.pop().put(batch)
            except IndexError:
                self._hire(batch)

    def _hire(self, batch: "_Batch") -> None:
        """Have another thread work on this batch; where their number is limited there may be none."""
        batches: SimpleQueue[_Batch | None] = SimpleQueue()
        batches.put(batch)
        try:
            threading.Thread(target=self._work, args=(batches,), name=self._name, daemon=True).start()
        except RuntimeError:
            if not self._short_handed:
                logger.warning("no thread can be had to read GPUs: allow perwatt more (TasksMax, pids.max)")
            self._short_handed = True
        else:
            self._short_handed = False

    def _work(self, batches: "SimpleQueue[_Batch | None]") -> None:
        while (batch := batches.get()) is not None:
            self._call_in(batch)
            was_last = batch.work()
            # Before the end is told: whoever waits for it may have the next batch at once.
            self._resting.append(batches)
            if was_last:
                batch.tell_end()
            del batch
            self._dismiss_surplus()

    def _dismiss_surplus(self) -> None:
        """A thread whose call hung was replaced: when it is back, there is one more than can work."""
        if len(self._resting) > self._most_calls:
            with suppress(IndexError):
                self._resting.pop(0).put(None)


class _Batch:
    """Calls of which each thread takes the next, until none waits; `waited_seconds` went by in waiting."""

    def __init__(self, calls: Sequence[Call[T]], clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Call[T]] = deque(calls)
        self._unfinished = len(calls)
        self._lock = threading.Lock()
        self._wanted = 0
        self.waited_seconds = 0.0
        self.over: asyncio.Future[None] = self._loop.create_future()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def want(self, threads: int) -> None:
        """Have so many more threads work on it."""
        with self._lock:
            self._wanted = threads

    def takes_one_more(self) -> bool:
        """Whether another thread is wanted still; the one who asks has to bring it."""
        with self._lock:
            if not self._wanted or not self._waiting:
                return False
            self._wanted -= 1
            return True

    def withdraw(self) -> None:
        """End what nobody has begun."""
        while self._waiting:
            with suppress(IndexError):  # somebody begins it just now
                self._waiting.popleft().withdraw()

    def work(self) -> bool:
        """Make calls until none waits; whether the last of all that were to end ended here."""
        begun, worked = self._clock.monotonic(), time.thread_time()
        was_last = False
        while True:
            try:
                call = self._waiting.popleft()
            except IndexError:
                break
            call.make()
            with self._lock:
                self._unfinished -= 1
                was_last = self._unfinished == 0
        with self._lock:
            self.waited_seconds += self._clock.monotonic() - begun - (time.thread_time() - worked)
        return was_last

    def tell_end(self) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """Let who waits go on; to be called on the loop."""
        if not self.over.done():
            self.over.set_result(None)
