"""The thread pool makes every call once, and a call that never returns delays no other."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from support.gpus.devices import PATIENCE_SECONDS, eventually

from perwatt_agent.clock import ManualClock, SystemClock
from perwatt_agent.threads.pool import Call, NotStarted, ThreadPool


@pytest.fixture
def pool() -> ThreadPool:
    return ThreadPool("test")


async def test_calls_go_side_by_side(pool: ThreadPool, clock: ManualClock) -> None:
    """Each call has a thread of its own where all of them wait, in the first batch and in later ones."""
    together = threading.Barrier(8)
    for _ in range(3):
        calls = [Call(lambda: together.wait(PATIENCE_SECONDS), clock.monotonic()) for _ in range(8)]
        await pool.run(calls, PATIENCE_SECONDS)

        assert list(range(8)) == sorted(call.result() for call in calls)


async def test_threads_are_daemons(pool: ThreadPool, clock: ManualClock) -> None:
    """No thread keeps the process from exiting, and each has the pool's name."""
    calls = [Call(threading.current_thread, clock.monotonic()) for _ in range(8)]
    await pool.run(calls, PATIENCE_SECONDS)

    assert {("test", True)} == {(call.result().name, call.result().daemon) for call in calls}


async def test_threads_are_used_again() -> None:
    """However slow the batches are, there are never more threads than calls in one."""
    clock = SystemClock()
    pool = ThreadPool("reused")

    for _ in range(10):
        await pool.run([Call(lambda: time.sleep(0.001), clock.monotonic()) for _ in range(4)], 60.0)
        await eventually(lambda: len(pool._idle) == _threads("reused"))

    assert 1 < _threads("reused") <= 4


async def test_failure(pool: ThreadPool, clock: ManualClock) -> None:
    """An exception is raised by `result`; the other calls are made all the same."""
    calls = [Call(lambda: 1 // 0, clock.monotonic()), Call(lambda: 2, clock.monotonic())]
    await pool.run(calls, PATIENCE_SECONDS)

    with pytest.raises(ZeroDivisionError):
        calls[0].result()
    assert 2 == calls[1].result()


async def test_hanging_call(pool: ThreadPool, clock: ManualClock) -> None:
    """A call that hangs takes the timeout and a thread; the other calls, and later ones, are made."""
    may_return = threading.Event()
    stuck: Call[object] = Call(lambda: may_return.wait(PATIENCE_SECONDS), clock.monotonic())
    others: list[Call[object]] = [Call(lambda: 2, clock.monotonic()) for _ in range(7)]
    await pool.run([stuck, *others], 0.2)

    assert [2] * 7 == [call.result() for call in others]
    assert not stuck.is_done
    later = Call(lambda: 3, clock.monotonic())
    await pool.run([later], PATIENCE_SECONDS)
    assert 3 == later.result()

    may_return.set()
    await eventually(lambda: stuck.is_done)
    assert stuck.result()


async def test_a_surplus_thread_stops() -> None:
    """A thread whose call hung was replaced. When the call returns, the pool has its old size again."""
    clock = SystemClock()
    pool = ThreadPool("surplus")

    for _ in range(3):
        begun, may_return, together = threading.Barrier(3), threading.Event(), threading.Barrier(2)

        def hang(begun: threading.Barrier = begun, may_return: threading.Event = may_return) -> None:
            begun.wait(PATIENCE_SECONDS)
            may_return.wait(PATIENCE_SECONDS)

        hanging = [Call(hang, clock.monotonic()) for _ in range(2)]
        making = asyncio.create_task(pool.run(hanging, PATIENCE_SECONDS))
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        others = [Call(partial(together.wait, PATIENCE_SECONDS), clock.monotonic()) for _ in range(2)]
        await pool.run(others, PATIENCE_SECONDS)
        assert 4 == _threads("surplus")
        may_return.set()
        await making
        await eventually(lambda: _threads("surplus") == 2)


def _threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


async def test_nothing_to_do(pool: ThreadPool) -> None:
    """Without calls there is no thread and no wait."""
    await pool.run([], PATIENCE_SECONDS)
    assert [] == pool._idle


def test_loop_gone(pool: ThreadPool, clock: ManualClock) -> None:
    """A call may return when its loop is closed: nobody waits, and the pool serves another loop."""
    may_return = threading.Event()
    stuck: Call[object] = Call(lambda: may_return.wait(PATIENCE_SECONDS), clock.monotonic())
    asyncio.run(pool.run([stuck], 0.01))
    may_return.set()
    later = Call(lambda: 2, clock.monotonic())
    asyncio.run(pool.run([later], PATIENCE_SECONDS))

    assert 2 == later.result()


def test_process_exits_with_a_hanging_call() -> None:
    """A process of whose calls one hangs for ever can exit."""
    program = """
import asyncio, threading
from perwatt_agent.clock import SystemClock
from perwatt_agent.threads.pool import Call, ThreadPool

clock = SystemClock()
asyncio.run(ThreadPool("test").run([Call(threading.Event().wait, clock.monotonic())], 0.1))
print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )

    assert (0, "done\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def no_thread_can_start() -> Iterator[None]:
    """No thread can begin whose stack is larger than the address space."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_no_thread_can_start(
    pool: ThreadPool, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls that no thread can make are cancelled, which is logged once; later calls are made again."""
    with no_thread_can_start():
        for _ in range(3):
            late = Call(lambda: 1, clock.monotonic())
            await pool.run([late], 0.01)
            with pytest.raises(NotStarted):
                late.result()
    (record,) = caplog.records
    assert "TasksMax or pids.max" in record.getMessage()

    call = Call(lambda: 2, clock.monotonic())
    await pool.run([call], PATIENCE_SECONDS)
    assert 2 == call.result()
