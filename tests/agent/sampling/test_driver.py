"""A backend is opened, and opened again, through every life of the driver."""

import asyncio
import logging

import pytest
from support.gpus.devices import Calls, FakeBackend, FakeDevice, eventually

from perwatt_agent.clock import ManualClock
from perwatt_agent.gpu.backend import BackendBroken, BackendUnavailable, Generation
from perwatt_agent.sampling.driver import INVENTORY_SECONDS, REOPEN_SECONDS, Driver

WAIT_SECONDS = 30.0
NO_DRIVER = BackendUnavailable("no_driver", "no driver is loaded: install one")


def driver_of(clock: ManualClock, *, gpus: int = 1) -> tuple[Driver, FakeBackend]:
    backend = FakeBackend(*(FakeDevice(index, clock) for index in range(gpus)))
    return Driver(backend, clock, hung_seconds=2.0), backend


async def test_opens_once(clock: ManualClock) -> None:
    """A backend that answers is opened once, and its generation stays."""
    driver, backend = driver_of(clock)

    assert await driver.update(WAIT_SECONDS)
    assert not await driver.update(WAIT_SECONDS)
    assert (1, 1) == (backend.opens.count, driver.generations)
    assert ("nvml", True, "570.00", "12.570.00", "") == (
        driver.status.name,
        driver.status.up,
        driver.status.driver_version,
        driver.status.nvml_version,
        driver.status.reason,
    )


async def test_absent_then_there(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A driver that is not there is tried again, ever more rarely, and said to be missing once."""
    caplog.set_level(logging.INFO)
    driver, backend = driver_of(clock)
    backend.opens.failure = NO_DRIVER
    began = clock.monotonic()
    attempts = []
    for _ in range(60):
        before = backend.opens.count
        assert not await driver.update(WAIT_SECONDS)
        if backend.opens.count > before:
            attempts.append(clock.monotonic() - began)
        clock.advance(1.0)

    assert [0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0, 45.0, 55.0] == attempts
    assert (False, "no_driver") == (driver.status.up, driver.status.reason)
    assert (("no_driver", 9),) == driver.health.snapshot().failures

    backend.opens.failure = None
    clock.advance(REOPEN_SECONDS[-1])
    assert await driver.update(WAIT_SECONDS)
    assert (True, "") == (driver.status.up, driver.status.reason)
    assert driver.health.snapshot().success
    assert ["WARNING", "INFO"] == [record.levelname for record in caplog.records]


async def test_no_gpus_then_some(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A driver without GPUs is up, says so once, and is opened anew until it has some."""
    driver, backend = driver_of(clock)
    devices, backend.devices = backend.devices, ()
    for _ in range(10):
        await driver.update(WAIT_SECONDS)
        clock.advance(1.0)

    assert (True, "no_gpus") == (driver.status.up, driver.status.reason)
    assert 1 == len(caplog.records)

    backend.devices = devices
    while not (driver.generation and driver.generation.devices):
        clock.advance(1.0)
        await driver.update(WAIT_SECONDS)
    assert backend.closes.count == backend.opens.count - 1
    assert "" == driver.status.reason


class FakeInventory:
    """Lists `devices`, when it is refreshed."""

    def __init__(self, *devices: FakeDevice) -> None:
        self.devices = devices
        self.calls = Calls()
        self.is_outdated = False
        self.latest = Generation("570.00", "12.570.00", devices, inventory=self)

    def refresh(self) -> Generation:
        self.calls.happen()
        self.is_outdated = False
        if self.devices != self.latest.devices:
            self.latest = Generation("570.00", "12.570.00", self.devices, inventory=self)
        return self.latest


async def with_inventory(clock: ManualClock) -> tuple[Driver, FakeInventory]:
    """A driver whose generation has begun, and its inventory."""
    inventory = FakeInventory(FakeDevice(0, clock))
    backend = FakeBackend()
    backend.open = lambda: inventory.latest  # type: ignore[method-assign]
    driver = Driver(backend, clock, hung_seconds=2.0)
    assert await driver.update(WAIT_SECONDS)
    return driver, inventory


async def refreshed(driver: Driver, inventory: FakeInventory, calls: int) -> None:
    """Wait until a refresh is over, and its result has arrived on the loop."""
    await eventually(lambda: inventory.calls.count == calls and driver._thread.busy_since is None)
    await asyncio.sleep(0)


async def test_refreshes(clock: ManualClock) -> None:
    """The inventory is refreshed every 30 s, or when it is outdated; True is returned only after a change."""
    driver, inventory = await with_inventory(clock)
    for calls in (1, 2):
        assert not await driver.update(WAIT_SECONDS)
        assert calls - 1 == inventory.calls.count
        clock.advance(INVENTORY_SECONDS)
        assert not await driver.update(WAIT_SECONDS)
        await refreshed(driver, inventory, calls)
        assert not await driver.update(WAIT_SECONDS)

    inventory.devices = (*inventory.devices, FakeDevice(1, clock))
    inventory.is_outdated = True
    assert not await driver.update(WAIT_SECONDS)
    await refreshed(driver, inventory, 3)
    assert await driver.update(WAIT_SECONDS)
    assert driver.generation is inventory.latest
    assert (1, True) == (driver.generations, driver.status.up)


@pytest.mark.parametrize(
    ("failure", "reason"), [(NO_DRIVER, "no_driver"), (RuntimeError("surprise"), "unexpected")]
)
async def test_a_refresh_that_fails(clock: ManualClock, failure: Exception, reason: str) -> None:
    """It is counted, the generation goes on, and the next refresh succeeds."""
    driver, inventory = await with_inventory(clock)
    inventory.calls.failure = failure
    clock.advance(INVENTORY_SECONDS)
    assert not await driver.update(WAIT_SECONDS)
    await refreshed(driver, inventory, 1)
    assert not await driver.update(WAIT_SECONDS)
    health = driver.health.snapshot()
    assert (False, ((reason, 1),), True) == (health.success, health.failures, driver.status.up)

    inventory.calls.failure = None
    clock.advance(INVENTORY_SECONDS)
    await driver.update(WAIT_SECONDS)
    await refreshed(driver, inventory, 2)
    await driver.update(WAIT_SECONDS)
    assert driver.health.snapshot().success


async def test_a_refresh_that_hangs(clock: ManualClock) -> None:
    """Nobody waits for it, it is reported, there is only one; after its generation its result is dropped."""
    driver, inventory = await with_inventory(clock)
    with inventory.calls.hanging():
        clock.advance(INVENTORY_SECONDS)
        for _ in range(5):
            assert not await driver.update(WAIT_SECONDS)
            clock.advance(1.0)
        await eventually(lambda: inventory.calls.count == 1)
        assert {"hung": 2} == dict(driver.health.snapshot().failures)
        assert driver.status.up
        driver.end("driver_reloaded", "it went away", may_close=False)
        assert not await driver.update(WAIT_SECONDS)
    await refreshed(driver, inventory, 1)
    while not await driver.update(WAIT_SECONDS):
        clock.advance(1.0)
    assert 2 == driver.generations


async def test_broken(clock: ManualClock) -> None:
    """What only a new process can cure is not survived."""
    driver, backend = driver_of(clock)
    backend.opens.failure = BackendBroken("version_mismatch", "the driver was replaced")

    with pytest.raises(BackendBroken):
        await driver.update(WAIT_SECONDS)


async def test_surprise(clock: ManualClock) -> None:
    """Any other failure to open is tried again like an absent driver."""
    driver, backend = driver_of(clock)
    backend.opens.failure = RuntimeError("surprise")
    assert not await driver.update(WAIT_SECONDS)
    assert (False, "unexpected") == (driver.status.up, driver.status.reason)

    backend.opens.failure = None
    clock.advance(1.0)
    assert await driver.update(WAIT_SECONDS)


async def test_hanging_opening(clock: ManualClock) -> None:
    """An opening that hangs delays nobody, is called hung after a while, and counts when it returns."""
    driver, backend = driver_of(clock)
    with backend.opens.hanging():
        assert not await driver.update(0.01)
        assert "starting" == driver.status.reason

        clock.advance(2.5)
        assert not await driver.update(0.01)
        assert (False, "hung") == (driver.status.up, driver.status.reason)

    assert await driver.update(WAIT_SECONDS)
    assert (1, True) == (backend.opens.count, driver.status.up)


async def test_ended(clock: ManualClock) -> None:
    """A generation that ended is closed, and another one is opened as soon as that is done and it is due."""
    driver, backend = driver_of(clock)
    await driver.update(WAIT_SECONDS)
    driver.end("driver_reloaded", "it went away", may_close=True)

    assert driver.generation is None
    assert (False, "driver_reloaded") == (driver.status.up, driver.status.reason)

    clock.advance(1.0)
    assert await driver.update(WAIT_SECONDS)
    assert (2, 1, 2) == (backend.opens.count, backend.closes.count, driver.generations)


async def test_ended_while_a_call_hangs(clock: ManualClock) -> None:
    """The driver is not shut down under a call that hangs in it."""
    driver, backend = driver_of(clock)
    await driver.update(WAIT_SECONDS)
    driver.end("driver_reloaded", "it went away", may_close=False)
    clock.advance(1.0)

    assert await driver.update(WAIT_SECONDS)
    assert 0 == backend.closes.count


async def test_hanging_shutdown(clock: ManualClock) -> None:
    """A shutdown that hangs is named as well, and the backend is opened when it is over."""
    driver, backend = driver_of(clock)
    await driver.update(WAIT_SECONDS)
    with backend.closes.hanging():
        driver.end("driver_reloaded", "it went away", may_close=True)
        clock.advance(2.5)
        assert not await driver.update(0.01)
        assert "hung" == driver.status.reason

    assert await driver.update(WAIT_SECONDS)
    assert driver.status.up


async def test_failing_shutdown(clock: ManualClock) -> None:
    """A driver that cannot be shut down is opened anew all the same."""
    driver, backend = driver_of(clock)
    await driver.update(WAIT_SECONDS)
    backend.closes.failure = RuntimeError("surprise")
    driver.end("driver_reloaded", "it went away", may_close=True)
    clock.advance(1.0)
    assert await driver.update(WAIT_SECONDS)

    assert 1 == backend.closes.count
    assert driver.status.up


async def test_close_while_opening_hangs(clock: ManualClock) -> None:
    """Closing never waits, not for an opening either."""
    driver, backend = driver_of(clock)
    with backend.opens.hanging():
        await driver.update(0.01)
        driver.close(may_close=True)

        assert driver.generation is None
        assert 0 == backend.closes.count
