"""A crew makes every call once, and a call that never returns holds up nobody."""

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
from perwatt_agent.threads.crew import Call, Crew, NotMade


@pytest.fixture
def crew() -> Crew:
    return Crew("test")


async def test_calls_go_side_by_side(crew: Crew, clock: ManualClock) -> None:
    """Each call has a thread of its own where all of them wait, in the first batch and in later ones."""
    together = threading.Barrier(8)
    for _ in range(3):
        calls = [Call(lambda: together.wait(PATIENCE_SECONDS), clock.monotonic()) for _ in range(8)]
        await crew.make(calls, PATIENCE_SECONDS)

        assert list(range(8)) == sorted(call.result() for call in calls)


async def test_threads_are_daemons(crew: Crew, clock: ManualClock) -> None:
    """No thread keeps the process from exiting, and each has the pool's name."""
    calls = [Call(threading.current_thread, clock.monotonic()) for _ in range(8)]
    await crew.make(calls, PATIENCE_SECONDS)

    assert {("test", True)} == {(call.result().name, call.result().daemon) for call in calls}


async def test_threads_are_used_again() -> None:
    """However slow the batches are, there are never more threads than calls in one."""
    clock = SystemClock()
    crew = Crew("reused")

    for _ in range(10):
        await crew.make([Call(lambda: time.sleep(0.001), clock.monotonic()) for _ in range(4)], 60.0)
        await eventually(lambda: len(crew._resting) == _threads("reused"))

    assert 1 < _threads("reused") <= 4


async def test_failure(crew: Crew, clock: ManualClock) -> None:
    """An exception belongs to whoever asks for the result; the other calls are made all the same."""
    calls = [Call(lambda: 1 // 0, clock.monotonic()), Call(lambda: 2, clock.monotonic())]
    await crew.make(calls, PATIENCE_SECONDS)

    with pytest.raises(ZeroDivisionError):
        calls[0].result()
    assert 2 == calls[1].result()


async def test_hanging_call(crew: Crew, clock: ManualClock) -> None:
    """A call that hangs costs its batch the wait and a thread; those behind it, and later ones, are made."""
    may_return = threading.Event()
    stuck = Call(lambda: may_return.wait(PATIENCE_SECONDS), clock.monotonic())
    others = [Call(lambda: 2, clock.monotonic()) for _ in range(7)]
    await crew.make([stuck, *others], 0.2)

    assert [2] * 7 == [call.result() for call in others]
    assert not stuck.over
    later = Call(lambda: 3, clock.monotonic())
    await crew.make([later], PATIENCE_SECONDS)
    assert 3 == later.result()

    may_return.set()
    await eventually(lambda: stuck.over)
    assert stuck.result()


async def test_a_thread_too_many_goes() -> None:
    """Who was replaced while a call hung is back: the crew is then as large as if nothing had hung."""
    clock = SystemClock()
    crew = Crew("surplus")

    for _ in range(3):
        begun, may_return, together = threading.Barrier(3), threading.Event(), threading.Barrier(2)

        def hang(begun: threading.Barrier = begun, may_return: threading.Event = may_return) -> None:
            begun.wait(PATIENCE_SECONDS)
            may_return.wait(PATIENCE_SECONDS)

        hanging = [Call(hang, clock.monotonic()) for _ in range(2)]
        making = asyncio.create_task(crew.make(hanging, PATIENCE_SECONDS))
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        others = [Call(partial(together.wait, PATIENCE_SECONDS), clock.monotonic()) for _ in range(2)]
        await crew.make(others, PATIENCE_SECONDS)
        assert 4 == _threads("surplus")
        may_return.set()
        await making
        await eventually(lambda: _threads("surplus") == 2)


def _threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


async def test_nothing_to_do(crew: Crew) -> None:
    """No call, no wait."""
    await crew.make([], PATIENCE_SECONDS)
    assert [] == crew._resting


def test_loop_gone(crew: Crew, clock: ManualClock) -> None:
    """A call may return when its loop is closed: nobody waits, and the crew serves another loop."""
    may_return = threading.Event()
    stuck = Call(lambda: may_return.wait(PATIENCE_SECONDS), clock.monotonic())
    asyncio.run(crew.make([stuck], 0.01))
    may_return.set()
    later = Call(lambda: 2, clock.monotonic())
    asyncio.run(crew.make([later], PATIENCE_SECONDS))

    assert 2 == later.result()


def test_process_exits_with_a_hanging_call() -> None:
    """A process of whose calls one hangs for ever can exit."""
    program = """
import asyncio, threading
from perwatt_agent.clock import SystemClock
from perwatt_agent.threads.crew import Call, Crew

clock = SystemClock()
asyncio.run(Crew("test").make([Call(threading.Event().wait, clock.monotonic())], 0.1))
print("done")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )

    assert (0, "done\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def no_thread_to_be_had() -> Iterator[None]:
    """No thread can begin whose stack is larger than the address space."""
    before = threading.stack_size(1 << 47)
    try:
        yield
    finally:
        threading.stack_size(before)


async def test_no_thread_to_be_had(crew: Crew, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Calls that nobody comes to are withdrawn, which is said once; later ones are made again."""
    with no_thread_to_be_had():
        for _ in range(3):
            late = Call(lambda: 1, clock.monotonic())
            await crew.make([late], 0.01)
            with pytest.raises(NotMade):
                late.result()
    assert 1 == len(caplog.records)

    call = Call(lambda: 2, clock.monotonic())
    await crew.make([call], PATIENCE_SECONDS)
    assert 2 == call.result()
