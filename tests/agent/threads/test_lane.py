"""A lane runs one call at a time, and a call that never returns holds up nobody."""

import asyncio
import subprocess
import sys
import threading

import pytest
from support.gpus.devices import PATIENCE_SECONDS, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.threads.lane import Lane


async def test_result(clock: ManualClock) -> None:
    """A call runs on the lane's own thread, and its result arrives in the loop."""
    lane = Lane("test", clock)
    thread = await lane.submit(threading.current_thread)

    assert ("test", True) == (thread.name, thread.daemon)
    assert lane.busy_since is None


async def test_exception(clock: ManualClock) -> None:
    """An exception belongs to the waiter; the lane goes on."""
    lane = Lane("test", clock)
    with pytest.raises(ZeroDivisionError):
        await lane.submit(lambda: 1 // 0)

    assert 2 == await lane.submit(lambda: 2)


async def test_busy(clock: ManualClock) -> None:
    """A lane tells since when it is busy, and takes no work meanwhile."""
    lane = Lane("test", clock)
    may_return = threading.Event()
    call = lane.submit(lambda: may_return.wait(PATIENCE_SECONDS))
    clock.advance(5.0)

    assert 1_000.0 == lane.busy_since
    with pytest.raises(AssertionError):
        lane.submit(lambda: None)

    may_return.set()
    assert await call
    assert lane.busy_since is None


@pytest.mark.parametrize("fails", [False, True])
async def test_late(clock: ManualClock, fails: bool) -> None:
    """What comes after its waiter gave up only frees the lane, be it a result or an exception."""
    lane = Lane("test", clock)
    may_return = threading.Event()

    def call() -> float:
        may_return.wait(PATIENCE_SECONDS)
        return 1 / (0 if fails else 1)

    late = lane.submit(call)
    late.cancel()
    may_return.set()
    await eventually(lambda: lane.busy_since is None)

    assert 2 == await lane.submit(lambda: 2)
    assert late.cancelled()


def test_loop_gone(clock: ManualClock) -> None:
    """A call may return when its loop is closed: nobody waits, and the lane serves another loop."""
    lane = Lane("test", clock)
    may_return = threading.Event()

    async def give_up() -> None:
        lane.submit(lambda: may_return.wait(PATIENCE_SECONDS))

    async def try_again() -> int:
        await eventually(lambda: lane.busy_since is None)
        return await lane.submit(lambda: 2)

    asyncio.run(give_up())
    may_return.set()

    assert 2 == asyncio.run(try_again())


def test_process_exits_with_a_hanging_call() -> None:
    """A process whose lane hangs for ever can exit."""
    program = """
import asyncio, threading
from perwatt_agent.clock import SystemClock
from perwatt_agent.threads.lane import Lane

async def main() -> None:
    Lane("test", SystemClock()).submit(threading.Event().wait)
    await asyncio.sleep(0.1)

asyncio.run(main())
print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )

    assert (0, "done\n", "") == (ended.returncode, ended.stdout, ended.stderr)
