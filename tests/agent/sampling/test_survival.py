"""Rows of the table of what a daemon over NVML must survive, through the whole agent over a fake driver."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import asdict
from support.agent.rig import Rig
from support.gpus.fakedepth import enable_mig
from support.gpus.fakenvml import Constant, FakeDriver

from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.nvml.device import REFUSED_RETRY_SECONDS, NvmlDevice
from perwatt_agent.sampling.total_failure import FIRST_CYCLES, MAX_CYCLES, TotalFailure

MANY = 2_000


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=2).install() as driver:
        driver.advance(100.0)
        yield driver


@pytest.fixture
def rig(tmp_path: Path, driver: FakeDriver) -> Rig:
    return Rig(tmp_path, driver)


async def until(rig: Rig, condition: Callable[[Rig], bool]) -> None:
    """Run cycles until *condition* holds; the driver's own thread works in real time."""
    for _ in range(MANY):
        await rig.run(1)
        if condition(rig):
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"it did not come: {rig.sampler.latest}")


def all_ok(rig: Rig) -> bool:
    gpus = rig.sampler.latest.gpus
    return bool(gpus) and all(gpu.state == "ok" for gpu in gpus)


class TestTotalFailure:
    def test_patience(self) -> None:
        """The driver is opened anew after 10 cycles without a reading, then after 20, 40, ... up to 640."""
        total_failure = TotalFailure()
        cycles = [cycle for cycle in range(1, 3_000) if total_failure.should_reopen(["error", "error"])]
        waits = [later - earlier for earlier, later in zip([0, *cycles], cycles, strict=False)]

        assert [FIRST_CYCLES, 20, 40, 80, 160, 320, *[MAX_CYCLES] * 3] == waits

    @pytest.mark.parametrize("states", [["ok", "error"], ["error", "hung"], ["lost", "error"], []])
    def test_only_when_all_fail(self, states: list[str]) -> None:
        """A GPU that is read, hangs or is lost is another matter."""
        total_failure = TotalFailure()

        assert not any(total_failure.should_reopen(states) for _ in range(100))  # type: ignore[arg-type]


@pytest.mark.parametrize("refusing", [(1,), (0, 1)], ids=["one GPU", "all GPUs"])
async def test_gpus_that_refuse_everything(rig: Rig, driver: FakeDriver, refusing: tuple[int, ...]) -> None:
    """They cannot be read and say so; whether their driver is there is known all the same."""
    await until(rig, all_ok)
    faults = [driver.fail("*", gpu, code=3) for gpu in refusing]
    await rig.run(5)
    for index, gpu in enumerate(rig.sampler.latest.gpus):
        assert ("error" if index in refusing else "ok") == gpu.state
        assert (index in refusing) == (gpu.reading is None)

    for fault in faults:
        fault.release()
    driver.reload_driver()
    await until(rig, all_ok)
    for gpu in rig.sampler.latest.gpus:
        assert gpu.reading is not None
        assert gpu.reading.power_watts is not None


async def test_a_gpu_that_refused_everything_is_asked_anew(rig: Rig, driver: FakeDriver) -> None:
    """What it refused then is no news of what it gives: after a while all of it is there, slow facts too."""
    await until(rig, all_ok)
    fault = driver.fail("*", 1, code=3)
    await rig.run(20)
    fault.release()
    asked = driver.calls("nvmlDeviceGetUtilizationRates", gpu=1)
    await rig.run(5)
    assert asked == driver.calls("nvmlDeviceGetUtilizationRates", gpu=1)
    assert "error" == rig.sampler.latest.gpus[1].state

    await rig.run(int(REFUSED_RETRY_SECONDS))
    await until(rig, all_ok)
    await rig.run(15)
    whole, other = rig.sampler.latest.gpus
    assert _given(whole.reading) == _given(other.reading)
    assert _given(whole.slow) == _given(other.slow)


def _given(reading: GpuReading | GpuSlowReading | None) -> set[str]:
    assert reading is not None
    return {name for name, value in asdict(reading).items() if value is not None}


async def test_a_generation_that_ended_is_gone_at_once(rig: Rig, driver: FakeDriver) -> None:
    """Memory is not to hold driver after driver until garbage is next collected."""
    enable_mig(driver, 1, instances=3)
    driver.fail("nvmlGpmSampleGet", 0, code=3)
    await until(rig, all_ok)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            driver.reload_driver()
            await until(rig, lambda rig: not rig.sampler.latest.backend.up)
            await until(rig, all_ok)
            await rig.run(20)
            assert 2 == sum(isinstance(one, NvmlDevice) for one in gc.get_objects())
    finally:
        gc.enable()


async def test_a_container_that_lost_its_devices(
    rig: Rig, driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything is an unknown error: the backend is down, says so and what cures it; and may come back."""
    await until(rig, all_ok)
    for gpu in (0, 1):
        driver.fail("*", gpu, 999)
    driver.fail("nvmlInitWithFlags", code=999)
    await until(rig, lambda rig: rig.sampler.latest.backend.reason == "unknown")

    assert not rig.sampler.latest.backend.up
    reasons = [gpu.health.reasons for gpu in rig.sampler.latest.gpus if gpu.health]
    assert [("driver_down",)] * 2 == reasons
    assert any("must be created anew" in record.getMessage() for record in caplog.records)

    driver.release()
    await until(rig, all_ok)


async def test_a_permission_that_comes_later(rig: Rig, driver: FakeDriver) -> None:
    """What may not be read is absent; once it may be, it is there within a minute."""
    refused = driver.fail("nvmlDeviceGetUtilizationRates", 0, code=4)
    await until(rig, all_ok)

    def utilization() -> float | None:
        reading = rig.sampler.latest.gpus[0].reading
        return reading.utilization_ratio if reading else None

    assert utilization() is None
    refused.release()
    await rig.run(61)
    assert utilization() is not None


async def test_indices_that_move(rig: Rig, driver: FakeDriver) -> None:
    """A GPU is its UUID: when two change places with a driver reload, the series stay with the boards."""
    await until(rig, all_ok)
    names = [driver.uuid(0), driver.uuid(1)]
    before = indices(rig)
    driver.set(0, uuid=names[1])
    driver.set(1, uuid=names[0])
    driver.reload_driver()
    await until(rig, lambda rig: rig.sampler.latest.gpus[0].info.uuid == names[1] and all_ok(rig))

    assert {names[0]: 0, names[1]: 1} == before
    assert {names[0]: 1, names[1]: 0} == indices(rig)


async def test_the_wall_clock_is_set_back(tmp_path: Path, driver: FakeDriver) -> None:
    """Joules and freshness live in monotonic time: an hour back on the wall changes neither."""
    rig = Rig(tmp_path, driver)
    await until(rig, all_ok)
    joules = rig.energy(0).joules
    rig.clock.set_back(3_600.0)
    await rig.run(10)

    assert pytest.approx(joules + 1_000.0) == rig.energy(0).joules
    assert all_ok(rig)
    assert all(gpu.health is not None and gpu.health.state == "ok" for gpu in rig.sampler.latest.gpus)


async def until_refreshed(rig: Rig, condition: Callable[[Rig], bool]) -> None:
    """As `until`, ten seconds a cycle, so that the inventory is refreshed again and again."""
    for _ in range(MANY):
        rig.driver.advance(9.0)
        rig.clock.advance(9.0)
        await rig.run(1)
        if condition(rig):
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"it did not come: {rig.sampler.latest}")


def states(rig: Rig) -> dict[str, str]:
    return {gpu.info.uuid: gpu.state for gpu in rig.sampler.latest.gpus}


def indices(rig: Rig) -> dict[str, int]:
    return {gpu.info.uuid: gpu.info.index for gpu in rig.sampler.latest.gpus}


def reports_xid(rig: Rig, gpu: int) -> bool:
    """Whether an error event of this GPU was received; it has another one each time."""
    rig.driver.xid(gpu, 13)
    events = rig.sampler.events.newest(since=0, limit=10)
    return any(event.gpu == rig.driver.uuid(gpu) and event.kind == "xid" for event in events)


class TestGpusThatComeAndGo:
    """While the driver lives on: its generation stays."""

    async def test_one_comes(self, rig: Rig, driver: FakeDriver) -> None:
        """A GPU that is added is read, with its events, without a reload; so are the others, all the time."""
        await until(rig, all_ok)
        driver.set_gpu_count(3)
        await until_refreshed(rig, lambda rig: len(states(rig)) == 3 and all_ok(rig))
        await until(rig, lambda rig: reports_xid(rig, 2))

        assert 1 == driver.calls("nvmlInitWithFlags")

    async def test_one_goes_and_another_moves_up(self, rig: Rig, driver: FakeDriver) -> None:
        """What handle and index meant is another board now: the one that went is lost, the other moves on."""
        await until(rig, all_ok)
        first, second = driver.uuid(0), driver.uuid(1)
        joules = rig.energy(1).joules
        driver.set_waveform(0, Constant(300.0))
        driver.set(0, uuid=second)
        driver.set_gpu_count(1)
        await until_refreshed(
            rig, lambda rig: states(rig) == {first: "lost", second: "ok"} and indices(rig)[second] == 0
        )

        moved = next(gpu for gpu in rig.sampler.latest.gpus if gpu.info.uuid == second)
        assert moved.energy is not None
        assert moved.energy.joules >= joules
        assert 1 == driver.calls("nvmlInitWithFlags")

        driver.set(1, uuid=first)
        driver.set_gpu_count(2)
        await until_refreshed(rig, lambda rig: all_ok(rig) and indices(rig) == {first: 1, second: 0})

    @pytest.mark.slow
    async def test_one_that_hangs_at_the_start(self, rig: Rig, driver: FakeDriver) -> None:
        """It has no name until its call returns; then it is read, and the others always were."""
        hang = driver.hang("nvmlDeviceGetUUID", 1)
        await until(rig, lambda rig: rig.sampler.latest.unidentified_gpus == 1)
        await until_refreshed(rig, lambda rig: driver.calls("nvmlDeviceGetCount_v2") >= 5)
        assert {driver.uuid(0): "ok"} == states(rig)
        assert 1 == hang.hanging

        hang.release()
        await until(rig, lambda rig: len(states(rig)) == 2 and all_ok(rig))
        assert 0 == rig.sampler.latest.unidentified_gpus
        assert 1 == driver.calls("nvmlInitWithFlags")
