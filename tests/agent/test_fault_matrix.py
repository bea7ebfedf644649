"""
Every return code of NVML from every function that the agent calls, once, for five seconds and for ever.

The functions are those that the fake driver counts, the codes are NVML's own and one that it has not: nothing
is listed by hand. Time is the driver's.
"""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.fakenvml import FakeDriver
from support.rig import Rig

from perwatt_agent.backend import BackendBroken
from perwatt_agent.nvml.errors import LIB_RM_VERSION_MISMATCH, Meaning, describe
from perwatt_agent.snapshot import GpuSnapshot, Snapshot

CODES = (*range(1, 30), 777, 999)
SICK, WELL = 0, 1
SENTINELS = {0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0x7FFF_FFFF, 0xFFFF_FFFF / 1000}
SLOW_PERIOD_SECONDS = 10


class Machine:
    """An agent over a driver with two GPUs, through one fault after the other."""

    def __init__(self, folder: Path, driver: FakeDriver) -> None:
        self.driver = driver
        self.rig = Rig(folder, driver)
        self.cases = 0

    @property
    def snapshot(self) -> Snapshot:
        return self.rig.sampler.latest

    @property
    def well(self) -> GpuSnapshot:
        return self.snapshot.gpus[WELL]

    async def sweep(self, seconds: float = 1.0) -> None:
        self.driver.advance(seconds)
        self.rig.clock.advance(seconds)
        await self.rig.sampler.tick()
        await asyncio.sleep(0)
        assert_sound(self.snapshot)

    async def recover(self) -> None:
        """Load the driver anew, so that nothing is remembered of what a GPU did not give."""
        self.driver.reload_driver()
        for _ in range(1_000):
            await self.sweep(SLOW_PERIOD_SECONDS + 1)
            if self.is_well():
                return
            await asyncio.sleep(0.002)  # the lane of the driver lives in real time
        raise AssertionError(f"it never recovered: {self.snapshot}")

    def is_well(self) -> bool:
        gpus = self.snapshot.gpus
        return self.snapshot.backend.up and all(
            gpu.state == "ok" and gpu.slow is not None and gpu.reading and not gpu.reading.failed_calls
            for gpu in gpus
        )

    async def functions(self) -> tuple[list[str], list[str], list[str]]:
        """What is called in a sweep for a GPU, what at a start for a GPU, and what for none."""
        await self.recover()
        self.driver.fail("nvmlEventSetWait_v2", times=1)  # so that a set is freed, too
        while not self.driver.calls("nvmlEventSetFree"):
            await self.sweep(SLOW_PERIOD_SECONDS + 1)
            await asyncio.sleep(0.002)
        of_gpu, of_all = self.driver.calls_by_function(SICK), self.driver.calls_by_function()
        await self.sweep(SLOW_PERIOD_SECONDS)
        now = self.driver.calls_by_function(SICK)
        steady = [name for name, count in now.items() if count > of_gpu.get(name, 0)]
        return steady, [name for name in now if name not in steady], [n for n in of_all if n not in now]

    def reasons(self) -> set[str]:
        """The words that any collector has failed with."""
        return {word for one in self.snapshot.collectors for word, _ in one.failures}


def assert_sound(snapshot: Snapshot) -> None:
    """Nothing on the page is a sentinel, no number, or from an earlier sweep."""
    for gpu in snapshot.gpus:
        assert (gpu.state == "ok") == (gpu.reading is not None)
        if gpu.reading is not None:
            assert snapshot.monotonic_seconds == gpu.reading.monotonic_seconds, "a value that is old"
        if gpu.slow is not None:
            assert snapshot.monotonic_seconds - gpu.slow.monotonic_seconds <= 2 * SLOW_PERIOD_SECONDS + 1
        for number in numbers(msgspec.to_builtins((gpu.reading, gpu.slow))):
            assert math.isfinite(number)
            assert number not in SENTINELS


def numbers(built: Any) -> Iterator[float]:
    if isinstance(built, (int, float)):
        yield built
    elif isinstance(built, (list, tuple, dict)):
        for one in built.values() if isinstance(built, dict) else built:
            yield from numbers(one)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with FakeDriver.create(tmp_path, gpus=2).install() as driver:
        driver.advance(100.0)
        yield Machine(tmp_path, driver)


async def hurt(machine: Machine, function: str, code: int, sweeps: list[float], times: int) -> None:
    """Let a function of the sick GPU fail for these sweeps; the other GPU must be read in each."""
    fault = machine.driver.fail(function, SICK, code, times)
    before = machine.well.energy.joules if machine.well.energy else 0.0
    for seconds in sweeps:
        await machine.sweep(seconds)
        assert machine.well.state == "ok", (function, code, machine.well)
        assert machine.well.energy is not None
        assert machine.well.energy.joules > before, "a value that stands still"
        before = machine.well.energy.joules
    if times < 0:
        assert_told(machine, function, code)
    fault.release()
    machine.cases += 1


def assert_told(machine: Machine, function: str, code: int) -> None:
    """The page says that the GPU fails and why, or that facts do, or they are absent because never given."""
    sick, known = machine.snapshot.gpus[SICK], describe(code)
    assert sick.health is not None
    assert "ok" == machine.well.health.state if machine.well.health else False
    if sick.state != "ok":
        assert sick.health.state == "failed", (function, code, sick.health)
        assert machine.reasons() & {known.word, "driver_reloaded", "gpu_not_found"}, (function, code)
    elif known.meaning not in (Meaning.ABSENT, Meaning.FORBIDDEN):
        fails = sick.reading is not None and sick.reading.failed_calls
        assert not fails or "calls_fail" in sick.health.reasons, (function, code, sick.health)


async def test_a_gpu_in_a_sweep(machine: Machine) -> None:
    """One GPU fails in whatever way: the agent lives, the other is read in every sweep, and it is told."""
    steady, _, _ = await machine.functions()
    pairs = [(function, code) for function in steady for code in CODES]
    for function, code in pairs:
        await hurt(machine, function, code, [SLOW_PERIOD_SECONDS], 1)
        await hurt(machine, function, code, [SLOW_PERIOD_SECONDS, 1, 1, 1, 1, 1, 1], -1)
        await hurt(machine, function, code, [SLOW_PERIOD_SECONDS, 1, 5, 5, SLOW_PERIOD_SECONDS], -1)
        await machine.recover()
    print(
        f"{machine.cases} cases of {len(steady)} functions x {len(CODES)} codes x 3 durations, "
        f"{machine.driver.now:.0f} s of driver time"
    )
    assert machine.cases == 3 * len(pairs)


async def test_at_a_start(machine: Machine) -> None:
    """
    What is called to begin a generation, or to hear of errors, fails: the agent lives and says why there are
    no readings, or reads the other GPU; when the fault is over, all is well. Only a driver that was replaced
    under the agent ends it, for its supervisor.
    """
    _, at_start, of_none = await machine.functions()
    functions = [(name, SICK) for name in at_start] + [(name, None) for name in of_none]
    for function, gpu in functions:
        for code in CODES:
            for times in (1, -1):
                await start_with(machine, function, gpu, code, times)
    print(f"{machine.cases} cases of {len(functions)} functions x {len(CODES)} codes x 2 durations")
    assert machine.cases == 2 * len(functions) * len(CODES)


async def start_with(machine: Machine, function: str, gpu: int | None, code: int, times: int) -> None:
    """Begin a generation under a fault; what follows is sound, told, and over with the fault."""
    fault = machine.driver.fail(function, gpu, code, times)
    machine.driver.reload_driver()
    try:
        for _ in range(4):
            await machine.sweep(2.0)
            await asyncio.sleep(0.001)
        if times < 0 and machine.well.state != "ok":
            assert machine.well.health is not None
            assert machine.well.health.state == "failed", (function, code, machine.well)
            assert machine.well.health.reasons, (function, code)
    except BackendBroken:
        assert code == LIB_RM_VERSION_MISMATCH, function
        machine.rig.restart_agent()
    fault.release()
    await machine.recover()
    machine.cases += 1
