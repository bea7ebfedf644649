"""What the NVML backend reads of a GPU every 10 to 15 seconds."""

from pathlib import Path

import pytest
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.gpu.backend import GenerationEnded, GpuFailure
from perwatt_agent.gpu.nvml.backend import NvmlBackend

LIMITS = {
    "power_limit_watts": 650.0,
    "power_limit_default_watts": 700.0,
    "power_limit_min_watts": 200.0,
    "power_limit_max_watts": 700.0,
}
LIMIT_FIELDS = (187, 188, 189, 190)


@pytest.fixture
def driver(tmp_path: Path):
    with FakeDriver.create(tmp_path, gpus=2).install() as driver:
        limits = {"limit_watts": 650.0, "limit_default_watts": 700.0}
        driver.set(None, **limits, limit_min_watts=200.0, limit_max_watts=700.0)
        yield driver


@pytest.fixture
def devices(driver: FakeDriver, clock: ManualClock):
    backend = NvmlBackend(clock)
    yield backend.open().devices
    backend.close()


def limits(reading: GpuSlowReading) -> dict[str, float | None]:
    return {name: getattr(reading, name) for name in LIMITS}


def test_limits_and_processes(driver: FakeDriver, devices, clock: ManualClock):
    """The enforced limit, the default, the range, and which processes compute."""
    driver.set_processes(0, [(4711, 1 << 30), (4712, 1 << 31)])

    reading = devices[0].read_slow()

    assert clock.monotonic() == reading.monotonic_seconds
    assert LIMITS == limits(reading)
    assert (GpuProcess(4711, 1 << 30, 0.0), GpuProcess(4712, 1 << 31, 0.0)) == reading.processes
    assert None is reading.top_processes
    assert () == devices[1].read_slow().processes


def test_twenty_calls(driver: FakeDriver, devices):
    """One batch, 15 facts, and where there are processes four calls for who they are and what they do."""
    driver.set_processes(0, [(4711, 1 << 30)])
    devices[0].read_slow()
    before = driver.calls(gpu=0)
    devices[0].read_slow()

    assert 20 == driver.calls(gpu=0) - before


def test_at_most_80_calls_a_second(tmp_path: Path, clock: ManualClock, record_property):
    """All that eight GPUs give, with processes on each: ten fast reads and a slow one in ten seconds."""
    with FakeDriver.create(tmp_path, gpus=8).install() as driver:
        for gpu in range(8):
            driver.set_processes(gpu, [(4711 + gpu, 1 << 30)], [50])
        devices = NvmlBackend(clock).open().devices

        def ten_seconds() -> int:
            before = driver.calls()
            for device in devices:
                device.read_slow()
            for _ in range(10):
                clock.advance(1.0)
                for device in devices:
                    device.read()
            return driver.calls() - before

        ten_seconds()
        calls_a_second = ten_seconds() / 10
        record_property("calls_a_second", calls_a_second)

        assert 59.2 == calls_a_second


def test_older_drivers_have_calls_for_the_limits(driver: FakeDriver, devices):
    """Limits that the batch does not give come by calls of their own."""
    driver.fail("nvmlDeviceGetFieldValues", 0, code=13)
    for field in LIMIT_FIELDS:
        driver.fail(f"field:{field}", 1, code=2)

    assert [LIMITS, LIMITS] == [limits(device.read_slow()) for device in devices]


def test_a_module_has_the_limits_of_the_module(tmp_path: Path, clock: ManualClock):
    """Where energy and power are the module's, so is the limit that they are held against."""
    with FakeDriver.create(tmp_path, architecture="gh200").install():
        assert 1020.0 == NvmlBackend(clock).open().devices[0].read_slow().power_limit_watts


@pytest.mark.parametrize("watts", [0.0, 4_294_967.295])
def test_no_limit_is_not_a_number(driver: FakeDriver, devices, watts: float):
    """A limit of 0, or of all ones, is how a board says that it has none."""
    driver.set(0, limit_watts=watts)

    assert None is devices[0].read_slow().power_limit_watts


class TestProcessLoad:
    """The SM utilisation of each process since the read before."""

    def test_of_each(self, driver: FakeDriver, devices):
        """One that has no sample did nothing, and one that is no number is not known."""
        driver.set_processes(0, [(1, 10), (2, 20), (3, 30)], [75, 0, 101])
        driver.advance(10.0)

        processes = (GpuProcess(1, 10, 0.75), GpuProcess(2, 20, 0.0), GpuProcess(3, 30, None))
        assert processes == devices[0].read_slow().processes

    def test_no_sample_counts_twice(self, driver: FakeDriver, devices):
        """What was seen at the last read is not seen again, and nothing new is no activity."""
        driver.set_processes(0, [(1, 10)], [75])
        driver.advance(10.0)
        devices[0].read_slow()
        driver.advance(0.5)
        assert (GpuProcess(1, 10, 0.0),) == devices[0].read_slow().processes

        driver.advance(0.5)
        assert (GpuProcess(1, 10, 0.75),) == devices[0].read_slow().processes

    @pytest.mark.parametrize("code", [3, 4, 13, 999])
    def test_may_be_absent(self, driver: FakeDriver, devices, code: int):
        """Unsupported (as with MIG), forbidden or failed: not known, and the processes stay."""
        driver.set_processes(0, [(1, 10)], [75])
        driver.fail("nvmlDeviceGetProcessUtilization", 0, code)

        assert (GpuProcess(1, 10, None),) == devices[0].read_slow().processes

    def test_not_found_is_no_activity(self, driver: FakeDriver, devices):
        """The driver finds no sample where nothing computed: that is a 0 which was measured."""
        driver.set_processes(0, [(1, 10)], [75])
        driver.advance(10.0)
        driver.fail("nvmlDeviceGetProcessUtilization", 0, code=6)

        assert (GpuProcess(1, 10, 0.0),) == devices[0].read_slow().processes

    def test_not_asked_for_nobody(self, driver: FakeDriver, devices):
        """A GPU without processes costs no call for what they do."""
        devices[0].read_slow()

        assert 0 == driver.calls("nvmlDeviceGetProcessUtilization", 0)


class TestDrawing:
    """Compute processes that are in the list of graphics processes too, as a compositor is."""

    @staticmethod
    def drawing(reading: GpuSlowReading) -> set[int]:
        return {process.pid for process in reading.processes or () if process.draws}

    @pytest.mark.parametrize("version", ["470.256.02", "535.54.03", "580.95.05"])
    def test_of_each(self, driver: FakeDriver, devices, version: str):
        """Each process is marked, in every version of the call, with and without SM utilization."""
        driver.set_driver_version(version)
        driver.set_processes(0, [(1, 10), (2, 20), (3, 30)], [0, 5, 0], drawing=(1, 2))
        assert {1, 2} == self.drawing(devices[0].read_slow())

        driver.fail("nvmlDeviceGetProcessUtilization", 0, code=3)
        assert {1, 2} == self.drawing(devices[0].read_slow())

    def test_asked_for_new_ones_only(self, driver: FakeDriver, devices):
        """The list is read when a process is new, as the call takes milliseconds; an id may come again."""
        calls = []
        for pids, drawing in (((1,), (1,)), ((1,), ()), ((1, 2), (1, 2)), ((2,), ()), ((), ()), ((2,), ())):
            before = driver.calls("nvmlDeviceGetGraphicsRunningProcesses_v3", 0)
            driver.set_processes(0, [(pid, 10) for pid in pids], drawing=drawing)
            found = self.drawing(devices[0].read_slow())
            calls.append((found, driver.calls("nvmlDeviceGetGraphicsRunningProcesses_v3", 0) > before))

        expected = [({1}, True), ({1}, False), ({1, 2}, True), ({2}, False), (set(), False), (set(), True)]
        assert expected == calls

    @pytest.mark.parametrize("code", [3, 4, 999])
    def test_not_known(self, driver: FakeDriver, devices, code: int):
        """Where the list is not given, a process counts as one that computes."""
        driver.set_processes(0, [(1, 10)], drawing=(1,))
        driver.fail("nvmlDeviceGetGraphicsRunningProcesses_v3", 0, code)

        assert (GpuProcess(1, 10, 0.0),) == devices[0].read_slow().processes


@pytest.mark.parametrize("code", [3, 4, 13, 999, 777])
def test_processes_may_be_absent(driver: FakeDriver, devices, code: int):
    """Unsupported, forbidden or failed: the count is absent, not 0, and the limits stay."""
    for version in ("_v3", "_v2", ""):
        driver.fail(f"nvmlDeviceGetComputeRunningProcesses{version}", 0, code)
    reading = devices[0].read_slow()

    assert None is reading.processes
    assert LIMITS == limits(reading)


@pytest.mark.parametrize(
    ("code", "outcome"), [(15, GpuFailure), (999, GpuFailure), (1, GenerationEnded), (9, GenerationEnded)]
)
def test_fails_as_the_fast_read_does(driver: FakeDriver, devices, code: int, outcome: type[Exception]):
    """A GPU or a driver that is gone is noticed here too."""
    driver.fail("nvmlDeviceGetFieldValues", 0, code)

    with pytest.raises(outcome):
        devices[0].read_slow()
    assert LIMITS == limits(devices[1].read_slow())
