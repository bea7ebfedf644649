"""Worker thread for calls that may never return."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from perwatt_agent.clock import Clock

T = TypeVar("T")


class WorkerThread:
    """
    One daemon thread with at most one call in flight. A busy thread takes no further call.

    A call that hangs blocks this thread and nothing else, and the process can always exit. When nobody waits
    for a result any more, the result is dropped and the thread is free again.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._busy_since: float | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def busy_since(self) -> float | None:
        """When the call in flight was submitted, in monotonic seconds; None while the thread is free."""
        return self._busy_since

    def submit(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Run *call* on this thread; its result or exception arrives in the running loop."""
        assert self._busy_since is None, "a busy thread takes no call"
        self._busy_since = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - every failure belongs to the waiter
                # Nobody looks at its traceback, which keeps this frame and the call's arguments alive.
                deliver = partial(_fail, future, error.with_traceback(None))
            else:
                deliver = partial(_succeed, future, result)
            self._busy_since = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
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
