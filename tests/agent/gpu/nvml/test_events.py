"""NVML events: a set is made, lost and made again, and every XID error comes from the right GPU."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.gpu.backend import EventSource, EventsUnsupported, GenerationEnded, GpuFailure, XidError
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.calls import REFUSED_RETRY_SECONDS

CREATE, REGISTER, WAIT = "nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=3).install() as driver:
        yield driver


@pytest.fixture
def backend(driver: FakeDriver, clock: ManualClock) -> NvmlBackend:
    return NvmlBackend(clock)


def opened(backend: NvmlBackend) -> EventSource:
    source = backend.open().events
    assert source is not None
    return source


def listening(backend: NvmlBackend) -> EventSource:
    """A source that has registered its GPUs."""
    source = opened(backend)
    assert source.wait() is None
    return source


class TestWait:
    def test_nothing(self, driver: FakeDriver, backend: NvmlBackend):
        """A wait in which nothing happens ends by itself, and the next needs one call."""
        source = listening(backend)
        before = driver.calls()
        assert source.wait() is None

        assert 1 == driver.calls() - before

    def test_which_gpu(self, driver: FakeDriver, backend: NvmlBackend):
        """Every error comes once, in order, with the UUID of its GPU and its number."""
        source = listening(backend)
        told = [(2, 79), (0, 13), (2, 999)]
        for gpu, code in told:
            driver.xid(gpu, code)

        assert [XidError(driver.uuid(gpu), code) for gpu, code in told] == [source.wait() for _ in told]
        assert source.wait() is None

    def test_of_a_gpu_that_answers_nothing_any_more(self, driver: FakeDriver, backend: NvmlBackend):
        """The error that took a GPU away still has its name."""
        source = listening(backend)
        driver.lose(1)
        driver.xid(1, 79)

        assert XidError(driver.uuid(1), 79) == source.wait()

    def test_what_was_before_is_not_reported(self, driver: FakeDriver, backend: NvmlBackend):
        """The driver does not replay what nobody listened to."""
        driver.xid(0, 79)

        assert opened(backend).wait() is None


class TestFailures:
    @pytest.mark.parametrize("code", [2, 3, 4, 13, 15, 16, 20, 25, 28, 999, 777])
    def test_a_wait_that_fails(self, driver: FakeDriver, backend: NvmlBackend, code: int):
        """The set is freed and made anew by the next wait, which receives events again."""
        source = listening(backend)
        driver.fail(WAIT, code=code, times=1)
        with pytest.raises(GpuFailure, match=f"code {code}"):
            source.wait()
        assert 0 == driver.event_sets

        assert source.wait() is None
        driver.xid(0, 48)
        assert XidError(driver.uuid(0), 48) == source.wait()
        assert 1 == driver.event_sets

    def test_a_set_that_cannot_be_freed(self, driver: FakeDriver, backend: NvmlBackend):
        """It is given up all the same."""
        source = listening(backend)
        driver.fail(WAIT, times=1)
        driver.fail("nvmlEventSetFree")
        with pytest.raises(GpuFailure):
            source.wait()

        assert source.wait() is None

    @pytest.mark.parametrize("code", [1, 9, 18])
    def test_a_generation_that_is_over(self, driver: FakeDriver, backend: NvmlBackend, code: int):
        """The set is not freed: a real driver may crash on it."""
        source = listening(backend)
        driver.fail(WAIT, code=code, times=1)
        with pytest.raises(GenerationEnded):
            source.wait()

        assert 0 == driver.calls("nvmlEventSetFree")

    def test_a_driver_reload(self, driver: FakeDriver, backend: NvmlBackend):
        """What is left of the old generation is never touched; the new one is used."""
        source = listening(backend)
        driver.reload_driver()
        with pytest.raises(GenerationEnded):
            source.wait()
        fresh = listening(backend)
        driver.xid(1, 62)

        assert XidError(driver.uuid(1), 62) == fresh.wait()
        assert 0 == driver.dead_sets_freed

    def test_after_its_end(self, driver: FakeDriver, backend: NvmlBackend):
        """A source whose backend was closed calls the driver no more."""
        source = listening(backend)
        backend.close()
        before = driver.calls()
        with pytest.raises(GenerationEnded):
            source.wait()

        assert before == driver.calls()


class TestRegistration:
    @pytest.mark.parametrize("code", [3, 13])
    @pytest.mark.parametrize("function", [CREATE, REGISTER])
    def test_gpus_that_never_tell(self, driver: FakeDriver, backend: NvmlBackend, function: str, code: int):
        """Where no GPU reports errors, the exception says so and nothing is left in the driver."""
        driver.fail(function, code=code)
        with pytest.raises(EventsUnsupported):
            opened(backend).wait()

        assert 0 == driver.event_sets

    @pytest.mark.parametrize("function", [CREATE, REGISTER, "nvmlDeviceGetHandleByUUID"])
    def test_that_fails_for_all(self, driver: FakeDriver, backend: NvmlBackend, function: str):
        """Without any GPU there is nothing to listen to; the next wait tries again."""
        source = opened(backend)
        fault = driver.fail(function)
        with pytest.raises(GpuFailure):
            source.wait()
        assert 0 == driver.event_sets

        fault.release()
        assert source.wait() is None

    def test_that_fails_for_one(self, driver: FakeDriver, backend: NvmlBackend, clock: ManualClock):
        """Events of the others come meanwhile; after a while the one is tried again."""
        fault = driver.fail(REGISTER, 1)
        source = listening(backend)
        driver.xid(0, 31)
        assert XidError(driver.uuid(0), 31) == source.wait()

        fault.release()
        clock.advance(30.0)
        assert source.wait() is None
        driver.xid(1, 31)
        assert XidError(driver.uuid(1), 31) == source.wait()

    def test_that_is_refused_by_one(self, driver: FakeDriver, backend: NvmlBackend, clock: ManualClock):
        """A GPU without events is registered again after ten minutes, when it may have some."""
        refusal = driver.fail(REGISTER, 1, code=3)
        source = listening(backend)
        clock.advance(REFUSED_RETRY_SECONDS - 1.0)
        source.wait()
        assert 1 == driver.calls(REGISTER, gpu=1)

        refusal.release()
        clock.advance(1.0)
        source.wait()
        driver.xid(1, 31)
        assert XidError(driver.uuid(1), 31) == source.wait()


@pytest.mark.slow
def test_the_driver_is_not_shut_down_under_a_wait_that_hangs(driver: FakeDriver, backend: NvmlBackend):
    """Only the end of the process ends such a wait."""
    source = listening(backend)
    hang = driver.hang(WAIT)
    threading.Thread(target=source.wait, daemon=True).start()
    hang.wait_until_hanging()
    backend.close()

    assert 0 == driver.calls("nvmlShutdown")
