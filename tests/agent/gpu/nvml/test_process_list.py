"""The list of compute processes, in every layout and version of the call that drivers have had."""

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.process_list import PID_MAX

MIB = 1 << 20
PIDS = (4711, 4712, 31, PID_MAX, 1_500_000, 9, 10, 11)
DRIVERS = (
    "470.256.02",
    "515.65.01",
    "535.43.02",
    "535.54.03",
    "535.86.10",
    "535.98",
    "535.104.05",
    "580.95.05",
)
PROTECTED = {"none": 0, "not available": 2**64 - 1, "some": 3 * MIB}


def read(driver: FakeDriver, clock: ManualClock) -> tuple[GpuProcess, ...] | None:
    backend = NvmlBackend(clock)
    try:
        return backend.open().devices[0].read_slow().processes
    finally:
        backend.close()


def expected(processes: list[tuple[int, int]]) -> tuple[GpuProcess, ...]:
    return tuple(GpuProcess(pid, size, 0.0) for pid, size in processes)


class TestLayouts:
    """Layouts x drivers: whatever is filled, each process is there once, with its own memory."""

    @pytest.mark.parametrize("protected", PROTECTED.values(), ids=PROTECTED)
    @pytest.mark.parametrize(("version", "size"), list(itertools.product(DRIVERS, (0, 24, 32))))
    def test_each(self, tmp_path: Path, clock: ManualClock, version: str, size: int, protected: int) -> None:
        """1 to 8 processes; a size of 0 is what this version fills."""
        with FakeDriver.create(tmp_path, gpus=1).install() as driver:
            driver.set_driver_version(version)
            driver.set_process_entry_bytes(size)
            driver.set(0, process_protected_bytes=[protected] * 8)
            for count in range(9):
                processes = [(pid, (900 + place) * MIB) for place, pid in enumerate(PIDS[:count])]
                driver.set_processes(0, processes)

                assert expected(processes) == read(driver, clock)

    @pytest.mark.slow
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        pids=st.lists(st.integers(1, PID_MAX), max_size=8, unique=True),
        pages=st.lists(st.integers(1, 180 << 18), min_size=8, max_size=8),
        protected=st.lists(st.integers(0, 180 << 18), min_size=8, max_size=8),
        version=st.sampled_from(DRIVERS),
    )
    def test_any_process(
        self,
        tmp_path: Path,
        pids: list[int],
        pages: list[int],
        protected: list[int],
        version: str,
    ) -> None:
        """Any processes, in pages of 4 KiB, with each version's own layout."""
        with FakeDriver.create(tmp_path, gpus=1).install() as driver:
            driver.set_driver_version(version)
            processes = [(pid, 4096 * size) for pid, size in zip(pids, pages, strict=False)]
            driver.set(0, process_protected_bytes=[4096 * size for size in protected])
            driver.set_processes(0, processes)

            assert expected(processes) == read(driver, ManualClock())


def test_memory_that_is_not_available(tmp_path: Path, clock: ManualClock) -> None:
    """No memory is known, in either layout; the processes are."""
    for size in (24, 32):
        with FakeDriver.create(tmp_path, gpus=1).install() as driver:
            driver.set_process_entry_bytes(size)
            driver.set_processes(0, [(4711, 2**64 - 1), (4712, 2**64 - 1)])

            assert (GpuProcess(4711, None, 0.0), GpuProcess(4712, None, 0.0)) == read(driver, clock)


def test_a_layout_that_nobody_knows(tmp_path: Path, clock: ManualClock) -> None:
    """Ids that no process can have: no list, because a wrong one gives joules to the wrong workload."""
    with FakeDriver.create(tmp_path, gpus=1).install() as driver:
        driver.set_processes(0, [(4711, MIB), (PID_MAX + 1, MIB)])

        assert None is read(driver, clock)


def test_said_once(tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A driver that lists no processes is reported once, not for each GPU and read; a failure is not that."""
    with FakeDriver.create(tmp_path, gpus=3).install() as driver:
        devices = NvmlBackend(clock).open().devices
        driver.fail("nvmlDeviceGetComputeRunningProcesses_v3", code=10, times=3)
        assert [None] * 3 == [device.read_slow().processes for device in devices]
        assert "does not list" not in caplog.text
        driver.fail("nvmlDeviceGetComputeRunningProcesses_v3", code=3)

        assert [None] * 6 == [device.read_slow().processes for device in (*devices, *devices)]
        assert 1 == caplog.text.count("does not list the processes that compute")
