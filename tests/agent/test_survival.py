"""Rows of the table of what a daemon over NVML must survive, through the whole agent over a fake driver."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fakenvml import FakeDriver
from support.rig import Rig

from perwatt_agent.sampling.blindness import FIRST_SWEEPS, MOST_SWEEPS, Blindness

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
    """Sweep until *condition* holds; the driver's own lane lives in real time."""
    for _ in range(MANY):
        await rig.run(1)
        if condition(rig):
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"it did not come: {rig.sampler.latest}")


def all_ok(rig: Rig) -> bool:
    gpus = rig.sampler.latest.gpus
    return bool(gpus) and all(gpu.state == "ok" for gpu in gpus)


class TestBlindness:
    def test_patience(self) -> None:
        """The driver is opened anew after 10 sweeps without a reading, then after 20, 40, ... up to 640."""
        blindness = Blindness()
        sweeps = [sweep for sweep in range(1, 3_000) if blindness.lasts(["error", "error"])]
        waits = [later - earlier for earlier, later in zip([0, *sweeps], sweeps, strict=False)]

        assert [FIRST_SWEEPS, 20, 40, 80, 160, 320, *[MOST_SWEEPS] * 3] == waits

    @pytest.mark.parametrize("states", [["ok", "error"], ["error", "hung"], ["lost", "error"], []])
    def test_only_when_all_fail(self, states: list[str]) -> None:
        """A GPU that is read, hangs or is lost is another matter."""
        blindness = Blindness()

        assert not any(blindness.lasts(states) for _ in range(100))  # type: ignore[arg-type]


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
    before = {gpu.info.uuid: gpu.info.index for gpu in rig.sampler.latest.gpus}
    driver.set(0, uuid=names[1])
    driver.set(1, uuid=names[0])
    driver.reload_driver()
    await until(rig, lambda rig: rig.sampler.latest.gpus[0].info.uuid == names[1] and all_ok(rig))

    after = {gpu.info.uuid: gpu.info.index for gpu in rig.sampler.latest.gpus}
    assert {names[0]: 0, names[1]: 1} == before
    assert {names[0]: 1, names[1]: 0} == after


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
