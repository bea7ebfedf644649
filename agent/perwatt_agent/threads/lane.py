"""A daemon thread for calls that may never return."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from perwatt_agent.clock import Clock

T = TypeVar("T")


class Lane:
    """
    One thread with at most one call in flight; a busy lane takes no work.

    A call that hangs occupies its lane and nothing else: the thread is a daemon, so the process can
    always exit. A result that comes after its waiter gave up only frees the lane.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._busy_since: float | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def busy_since(self) -> float | None:
        """When the call in flight was submitted, in monotonic seconds; None while the lane is free."""
        return self._busy_since

    def submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Run *call* on the lane's thread; its result or exception arrives in the running loop."""
        assert self._busy_since is None, "a busy lane gets no work"
        self._busy_since = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - every failure belongs to the waiter
                # Nobody looks at its traceback, which would hold this frame, and all that the call met.
                deliver = partial(_fail, future, error.with_traceback(None))
            else:
                deliver = partial(_succeed, future, result)
            self._busy_since = None
            with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(deliver)

        self._calls.put(work)
        return future

    def _work(self) -> None:
        while True:
            self._calls.get()()


def _succeed(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[T]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
