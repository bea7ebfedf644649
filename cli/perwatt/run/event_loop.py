"""Event loop of a daemon: it runs until a signal, and then ends even if something hangs."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from threading import Timer
from typing import Any

# The process ends at most this long after a signal, whatever still hangs.
STOP_SECONDS = 4.0


Main = Callable[[asyncio.Event], Awaitable[int]]
Loop = Callable[[Coroutine[Any, Any, int]], int]
"""Runs a coroutine in a new event loop: `asyncio.run` or `uvloop.run`."""


def run(main: Main, loop: Loop) -> int:
    """Run *main* with an event that SIGTERM and SIGINT set; return its exit code."""
    return loop(_until_stopped(main))


async def _until_stopped(main: Main) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        watchdog = Timer(STOP_SECONDS, os._exit, (0,))
        watchdog.daemon = True
        watchdog.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return await main(stop)


async def together(stop: asyncio.Event, *work: Awaitable[None]) -> None:
    """
    Run all of *work* to its end; the first failure sets *stop* and is raised.

    Each piece must end by itself soon after *stop* is set; one that does not is cancelled.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS - 1.0)
        for task in late:
            task.cancel()


async def cancelled_by(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Run *work* to its end, or until *stop* is set, which cancels it."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        task.result()
        return
    task.cancel()
    await asyncio.wait([task])
