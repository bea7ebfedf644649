"""A worker thread runs one call at a time, and a call that never returns delays nobody."""

import asyncio
import subprocess
import sys
import threading

import pytest
from support.gpus.devices import PATIENCE_SECONDS, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.threads.worker import WorkerThread


async def test_result(clock: ManualClock) -> None:
    """A call runs on the worker's own thread, and its result arrives in the loop."""
    worker = WorkerThread("test", clock)
    thread = await worker.submit(threading.current_thread)

    assert ("test", True) == (thread.name, thread.daemon)
    assert worker.busy_since is None


async def test_exception(clock: ManualClock) -> None:
    """An exception belongs to the waiter; the worker goes on."""
    worker = WorkerThread("test", clock)
    with pytest.raises(ZeroDivisionError):
        await worker.submit(lambda: 1 // 0)

    assert 2 == await worker.submit(lambda: 2)


async def test_busy(clock: ManualClock) -> None:
    """A worker reports since when it is busy, and takes no call meanwhile."""
    worker = WorkerThread("test", clock)
    may_return = threading.Event()
    call = worker.submit(lambda: may_return.wait(PATIENCE_SECONDS))
    clock.advance(5.0)

    assert 1_000.0 == worker.busy_since
    with pytest.raises(AssertionError):
        worker.submit(lambda: None)

    may_return.set()
    assert await call
    assert worker.busy_since is None


@pytest.mark.parametrize("fails", [False, True])
async def test_late(clock: ManualClock, fails: bool) -> None:
    """What comes after its waiter gave up only frees the worker, be it a result or an exception."""
    worker = WorkerThread("test", clock)
    may_return = threading.Event()

    def call() -> float:
        may_return.wait(PATIENCE_SECONDS)
        return 1 / (0 if fails else 1)

    late = worker.submit(call)
    late.cancel()
    may_return.set()
    await eventually(lambda: worker.busy_since is None)

    assert 2 == await worker.submit(lambda: 2)
    assert late.cancelled()


def test_loop_gone(clock: ManualClock) -> None:
    """A call may return when its loop is closed: nobody waits, and the worker serves another loop."""
    worker = WorkerThread("test", clock)
    may_return = threading.Event()

    async def give_up() -> None:
        worker.submit(lambda: may_return.wait(PATIENCE_SECONDS))

    async def try_again() -> int:
        await eventually(lambda: worker.busy_since is None)
        return await worker.submit(lambda: 2)

    asyncio.run(give_up())
    may_return.set()

    assert 2 == asyncio.run(try_again())


def test_process_exits_with_a_hanging_call() -> None:
    """A process whose worker hangs for ever can exit."""
    program = """
import asyncio, threading
from perwatt_agent.clock import SystemClock
from perwatt_agent.threads.worker import WorkerThread

async def main() -> None:
    WorkerThread("test", SystemClock()).submit(threading.Event().wait)
    await asyncio.sleep(0.1)

asyncio.run(main())
print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )

    assert (0, "done\n", "") == (ended.returncode, ended.stdout, ended.stderr)
