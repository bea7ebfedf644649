"""A crew makes every call once, and a call that never returns holds up nobody."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from support.gpus.devices import PATIENCE_SECONDS, eventually

from perwatt_agent.clock import ManualClock, SystemClock
from perwatt_agent.threads.crew import BATCHES_SIDE_BY_SIDE, QUICK_SECONDS, Call, Crew, NotMade


@pytest.fixture
def crew(clock: ManualClock) -> Crew:
    return Crew("test", clock)


async def test_quick_calls_share_a_thread(crew: Crew, clock: ManualClock) -> None:
    """Calls that take no time are made in their order, on one daemon thread for ever."""
    threads = set()
    for _ in range(3):
        calls = [Call(threading.current_thread, clock.monotonic()) for _ in range(8)]
        await crew.make(calls, PATIENCE_SECONDS)
        threads |= {call.result() for call in calls}

    (thread,) = threads
    assert ("test", True) == (thread.name, thread.daemon)


async def test_slow_calls_go_side_by_side() -> None:
    """Where the batch before was slow, and where this one turns out to be, each call has a thread."""
    clock = SystemClock()
    crew = Crew("test", clock)
    together = threading.Barrier(8)
    for _ in range(2):
        calls = [Call(lambda: together.wait(PATIENCE_SECONDS), clock.monotonic()) for _ in range(8)]
        await crew.make(calls, PATIENCE_SECONDS)
        assert list(range(8)) == sorted(call.result() for call in calls)


async def test_calls_that_compute_share_a_thread() -> None:
    """To compute is not to wait: more threads would only wait for each other."""
    clock = SystemClock()
    crew = Crew("test", clock)

    def compute() -> threading.Thread:
        until = time.thread_time() + QUICK_SECONDS / 2
        while time.thread_time() < until:
            pass
        return threading.current_thread()

    assert await _batches_by_one(crew, compute, 4) > 0


async def test_many_calls_are_not_slow_calls(crew: Crew) -> None:
    """One thread makes any number of calls that each are quick, however long they take together."""
    assert await _batches_by_one(crew, _doze, 100) > 0


async def _batches_by_one(crew: Crew, function: Callable[[], threading.Thread], calls: int) -> int:
    """
    How many of 20 batches one thread alone made.

    On a busy machine others take the processor away, which looks like waiting: not every one need be.
    """
    alone = 0
    for _ in range(20):
        batch = [Call(function, 0.0) for _ in range(calls)]
        await crew.make(batch, PATIENCE_SECONDS)
        alone += len({call.result() for call in batch}) == 1
    return alone


def _doze() -> threading.Thread:
    time.sleep(0.0001)
    return threading.current_thread()


async def test_waiting_is_measured_again() -> None:
    """A driver that was slow once is not read by many threads for ever."""
    clock = SystemClock()
    crew = Crew("test", clock)
    for _ in range(2):
        slow = [Call(lambda: time.sleep(2 * QUICK_SECONDS), clock.monotonic()) for _ in range(4)]
        await crew.make(slow, PATIENCE_SECONDS)
    assert crew._threads > 1

    still = ManualClock()
    quick = [
        [Call(threading.current_thread, still.monotonic()) for _ in range(4)]
        for _ in range(BATCHES_SIDE_BY_SIDE + 2)
    ]
    for calls in quick:
        await crew.make(calls, PATIENCE_SECONDS)

    assert 1 == crew._threads
    assert 1 == len({call.result() for call in quick[-1]})


async def test_one_slow_batch_is_no_slow_driver(crew: Crew, clock: ManualClock) -> None:
    """Calls that are held up once, as by a busy machine, are not made by many threads afterwards."""
    for seconds in (0.0, 2 * QUICK_SECONDS, 0.0):
        await crew.make(
            [Call(partial(clock.advance, seconds), clock.monotonic()) for _ in range(4)], PATIENCE_SECONDS
        )

        assert 1 == crew._threads


async def test_threads_are_used_again() -> None:
    """However slow the batches are, there are never more threads than calls in one."""
    clock = SystemClock()
    crew = Crew("reused", clock)

    for _ in range(10):
        await crew.make(
            [Call(lambda: time.sleep(2 * QUICK_SECONDS), clock.monotonic()) for _ in range(4)], 60.0
        )
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
    crew = Crew("surplus", clock)

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
asyncio.run(Crew("test", clock).make([Call(threading.Event().wait, clock.monotonic())], 0.1))
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
