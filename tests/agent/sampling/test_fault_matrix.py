"""
Every return code of NVML from every function that the agent calls, once, for five seconds and for ever.

The functions are those that the fake driver counts, the codes are NVML's own and one that it has not: nothing
is listed by hand. Time is the driver's.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from support.agent.rig import Rig
from support.gpus.fakedepth import enable_mig, set_mig_processes
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.config import GpuConfig
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.gpu.backend import BackendBroken
from perwatt_agent.gpu.nvml.driver.errors import LIB_RM_VERSION_MISMATCH, NOT_FOUND, Meaning, describe

pytestmark = pytest.mark.slow

CODES = (*range(1, 30), 777, 999)
SICK, WELL = 0, 1
HOST_VGPU = 3  # a GPU in this mode is asked for more
SENTINELS = {0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, 0x7FFF_FFFF, 0xFFFF_FFFF / 1000}
SLOW_PERIOD_SECONDS = 15
# Once, five seconds, and longer than anything is remembered: the sweeps of each, and how often it fails.
DURATIONS: tuple[tuple[tuple[float, ...], int], ...] = (
    ((SLOW_PERIOD_SECONDS,), 1),
    ((SLOW_PERIOD_SECONDS, 1, 2, 2), -1),
    ((SLOW_PERIOD_SECONDS, 5, SLOW_PERIOD_SECONDS), -1),
)

DEEP = GpuConfig(gpm="on", processes=1)

Calls: TypeAlias = dict[str, int]


class Machine:
    """An agent over a driver with two GPUs, whole or divided, through one fault after the other."""

    def __init__(self, folder: Path, driver: FakeDriver, gpu: GpuConfig) -> None:
        self.driver = driver
        self.rig = Rig(folder, driver, gpu=gpu)
        self.cases = 0
        self.whole: frozenset[str] = frozenset()

    @property
    def snapshot(self) -> Snapshot:
        return self.rig.sampler.latest

    @property
    def sick(self) -> GpuSnapshot:
        return self.snapshot.gpus[SICK]

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
        """Load the driver anew, so that nothing is remembered of what a GPU did not give; all comes back."""
        self.driver.reload_driver()
        for _ in range(1_000):
            await self.sweep(SLOW_PERIOD_SECONDS + 1)
            if self.is_well():
                return
            await asyncio.sleep(0.0005)  # the driver's worker thread works in real time
        raise AssertionError(f"it never recovered: {self.snapshot}")

    def is_well(self) -> bool:
        gpus = self.snapshot.gpus
        return self.snapshot.backend.up and all(
            gpu.state == "ok"
            and gpu.slow is not None
            and gpu.reading is not None
            and not gpu.reading.failed_calls
            and self.whole <= facts(gpu)
            for gpu in gpus
        )

    async def functions(self) -> tuple[Calls, list[str], list[str]]:
        """
        What is called in a sweep for a GPU, and how often; what now and then for a GPU, as at a start; and
        what for none.
        """
        await self.recover()
        for _ in range(2):  # the performance monitors compare two samples
            await self.sweep(SLOW_PERIOD_SECONDS)
        self.whole = facts(self.sick) & facts(self.well)
        freed = self.driver.calls("nvmlEventSetFree")
        self.driver.fail("nvmlEventSetWait_v2", times=1)  # so that a set is freed, too
        await self.until_called("nvmlEventSetFree", freed)
        await self.until_called("nvmlDeviceGetCount_v2")
        await self.until_called("nvmlDeviceGetUUID")  # the next refresh is further off than the next cycle
        before, of_all = self.driver.calls_by_function(SICK), self.driver.calls_by_function()
        await self.sweep(SLOW_PERIOD_SECONDS)
        now = self.driver.calls_by_function(SICK)
        steady = {name: more for name, count in now.items() if (more := count - before.get(name, 0))}
        return steady, [name for name in now if name not in steady], [n for n in of_all if n not in now]

    async def until_called(self, function: str, before: int | None = None) -> None:
        """Sweep until there are more calls than *before*, by default than now."""
        before = self.driver.calls(function) if before is None else before
        while self.driver.calls(function) == before:
            await self.sweep(SLOW_PERIOD_SECONDS + 1)
            await asyncio.sleep(0.002)

    def failures(self) -> dict[str, int]:
        """How often any collector has failed, by its words."""
        counts: Counter[str] = Counter()
        for one in self.snapshot.collectors:
            counts.update(dict(one.failures))
        return counts


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


def facts(gpu: GpuSnapshot) -> frozenset[str]:
    """The names of all that is told of a GPU."""
    return frozenset(names(msgspec.to_builtins((gpu.reading, gpu.slow))))


def names(built: Any, path: str = "") -> Iterator[str]:
    if isinstance(built, dict):
        for key, one in built.items():
            if key != "failed_calls":
                yield from names(one, f"{path}.{key}")
    elif isinstance(built, (list, tuple)):
        for place, one in enumerate(built):
            yield from names(one, f"{path}.{place}")
    elif built is not None:
        yield path


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=2).install() as driver:
        driver.advance(100.0)
        for gpu in (SICK, WELL):
            driver.set_processes(gpu, [(10, 1 << 30), (11, 2 << 30)], sm_percent=(50, 25))
            driver.set(gpu, virtualization_mode=HOST_VGPU, vgpu_count=2)
        yield driver


@pytest.fixture
def machine(tmp_path: Path, driver: FakeDriver) -> Machine:
    return Machine(tmp_path, driver, DEEP)


def divide(driver: FakeDriver) -> None:
    for gpu in (SICK, WELL):
        enable_mig(driver, gpu, instances=2)
        set_mig_processes(driver, gpu, {10: 0, 11: 1})


class Patient:
    """The sick GPU through one fault: what is missing of it, and what was told of that."""

    def __init__(self, machine: Machine, function: str, code: int) -> None:
        self._machine = machine
        self._case = function, code
        self._known = describe(code)
        self._before = machine.failures()
        self._told: set[str] = set()

    def examine(self) -> None:
        """Counters say why it is not read, or they and the reading which of its facts are not."""
        sick = self._machine.sick
        failures = self._machine.failures()
        self._told |= {word for word, count in failures.items() if count > self._before.get(word, 0)}
        words = {self._known.word, "driver_reloaded"} if self._ends() else {self._known.word}
        if sick.state != "ok":
            assert self._told & (words | {"gpu_not_found"}), (self._case, self._told)
            return
        assert sick.reading is not None
        self._told |= set(sick.reading.failed_calls.values())
        missing = self._machine.whole - facts(sick)
        if missing and not self._is_no_failure(missing):
            assert self._told & words, (self._case, missing, self._told)

    def _is_no_failure(self, missing: frozenset[str]) -> bool:
        """
        What a GPU never gives, what it may not give now, which the log says, and a MIG instance that is gone.
        """
        gone = self._case[1] == NOT_FOUND and all("mig" in name or "processes" in name for name in missing)
        return gone or self._known.meaning in (Meaning.ABSENT, Meaning.FORBIDDEN)

    def examine_health(self) -> None:
        """After some seconds its health says it as well."""
        sick = self._machine.sick
        assert sick.health is not None
        if sick.state != "ok":
            assert "failed" == sick.health.state, (self._case, sick.health)
        elif sick.reading is not None and sick.reading.failed_calls:
            assert "calls_fail" in sick.health.reasons, (self._case, sick.health)

    def _ends(self) -> bool:
        return self._known.meaning in (Meaning.ENDED, Meaning.MISSING)


async def hurt(machine: Machine, function: str, code: int, sweeps: Sequence[float], times: int) -> None:
    """Let a function of the sick GPU fail for these sweeps; the other GPU must be read in each."""
    patient = Patient(machine, function, code)
    fault = machine.driver.fail(function, SICK, code, times)
    before = machine.well.energy.joules if machine.well.energy else 0.0
    for seconds in sweeps:
        await machine.sweep(seconds)
        assert machine.well.state == "ok", (function, code, machine.well)
        assert machine.well.health is not None
        assert machine.well.health.state == "ok", (function, code, machine.well.health)
        assert machine.well.energy is not None
        assert machine.well.energy.joules > before, "a value that stands still"
        before = machine.well.energy.joules
        patient.examine()
    if times < 0:
        patient.examine_health()
    fault.release()
    machine.cases += 1


async def hurt_each(machine: Machine, functions: Iterable[str]) -> None:
    """Every function with every code, once, for five seconds and for ever."""
    pairs = [(function, code) for function in functions for code in CODES]
    for function, code in pairs:
        for sweeps, times in DURATIONS:
            await hurt(machine, function, code, sweeps, times)
        await machine.recover()
    print(
        f"{machine.cases} cases of {len(pairs) // len(CODES)} functions x {len(CODES)} codes x 3 durations, "
        f"{machine.driver.now:.0f} s of driver time"
    )
    assert machine.cases == len(DURATIONS) * len(pairs) > 0


async def test_a_gpu_in_a_sweep(machine: Machine) -> None:
    """One GPU fails in whatever way: the agent lives, the other is read in every sweep, and it is told."""
    steady, _, _ = await machine.functions()
    await hurt_each(machine, steady)


async def test_a_divided_gpu_in_a_sweep(tmp_path: Path, driver: FakeDriver) -> None:
    """The same of what is called for MIG instances alone, or for them as well."""
    whole, _, _ = await Machine(tmp_path / "whole", driver, DEEP).functions()
    divide(driver)
    machine = Machine(tmp_path, driver, DEEP)
    steady, _, _ = await machine.functions()
    await hurt_each(machine, [name for name, count in steady.items() if count > whole.get(name, 0)])


async def test_at_a_start(machine: Machine) -> None:
    """
    What is called to begin a generation, or to hear of errors, fails: the agent lives and says why there are
    no readings, or reads the other GPU; when the fault is over, all is well. Only a driver that was replaced
    under the agent ends it, for its supervisor.
    """
    _, at_start, of_none = await machine.functions()
    await start_with_each(
        machine, [*((name, SICK) for name in at_start), *((name, None) for name in of_none)]
    )


async def test_at_a_start_when_divided(tmp_path: Path, driver: FakeDriver) -> None:
    """The same of what is called for a MIG instance when it is first seen."""
    _, whole, _ = await Machine(tmp_path / "whole", driver, DEEP).functions()
    divide(driver)
    machine = Machine(tmp_path, driver, DEEP)
    _, at_start, _ = await machine.functions()
    await start_with_each(machine, [(name, SICK) for name in at_start if name not in whole])


async def start_with_each(machine: Machine, functions: Sequence[tuple[str, int | None]]) -> None:
    for function, gpu in functions:
        for code in CODES:
            await start_with(machine, function, gpu, code, sweeps=2, times=1)
            await start_with(machine, function, gpu, code, sweeps=4, times=-1)
            await machine.recover()
    print(f"{machine.cases} cases of {len(functions)} functions x {len(CODES)} codes x 2 durations")
    assert machine.cases == 2 * len(functions) * len(CODES) > 0


async def start_with(
    machine: Machine, function: str, gpu: int | None, code: int, *, sweeps: int, times: int
) -> None:
    """Begin a generation under a fault; what follows is sound, and told."""
    fault = machine.driver.fail(function, gpu, code, times)
    machine.driver.reload_driver()
    try:
        for _ in range(sweeps):
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
    machine.cases += 1


SCAN_CALLS = {"nvmlDeviceGetCount_v2": None, "nvmlDeviceGetHandleByIndex_v2": SICK, "nvmlDeviceGetUUID": SICK}


async def test_in_a_refresh(machine: Machine) -> None:
    """The inventory cannot be refreshed: the known GPUs are still read, and the failure is reported."""
    await machine.functions()
    for function, gpu in SCAN_CALLS.items():
        for code in CODES:
            before = machine.failures()
            fault = machine.driver.fail(function, gpu, code)
            await machine.until_called("nvmlDeviceGetCount_v2")
            for _ in range(1_000):
                await machine.sweep()
                assert ["ok", "ok"] == [one.state for one in machine.snapshot.gpus], (function, code)
                if machine.snapshot.unidentified_gpus or machine.failures() != before:
                    break
                await asyncio.sleep(0.0005)
            else:
                raise AssertionError(f"it was never told: {function} {code}")
            fault.release()
            await machine.recover()
            machine.cases += 1
    print(f"{machine.cases} cases of {len(SCAN_CALLS)} functions x {len(CODES)} codes")
