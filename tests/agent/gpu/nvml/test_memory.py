"""Whose a GPU's memory is: the system's, where the two share it, and the processes' that hold most of it."""

from pathlib import Path

import pytest
from support.gpus.nvml import Open, opening

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_process import ProcessUse
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.traits import Options

GIB = 1 << 30


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    with opening(tmp_path, clock) as opened:
        yield opened


class TestMemoryOfTheSystem:
    def test_is_told_by_the_kernel(self, opened: Open, tmp_path: Path, clock: ManualClock):
        """Where the OS owns the memory, the driver's figures are not shown as the GPU's."""
        driver, _ = opened("gh200", gpus=1)
        driver.set(0, numa_node=1)
        node = tmp_path / "devices/system/node/node1"
        node.mkdir(parents=True)
        (node / "meminfo").write_text(
            "Node 1 MemTotal:       100663296 kB\nNode 1 MemFree: 92274688 kB\nNode 1 MemUsed: 8388608 kB\n"
        )
        backend = NvmlBackend(clock, sysfs=tmp_path)
        device = backend.open().devices[0]
        reading, slow = device.read(), device.read_slow()
        backend.close()

        assert 1 == device.info.numa_node
        assert (None, None) == (reading.memory_used_bytes, reading.memory_total_bytes)
        assert (8 * GIB, 96 * GIB) == (slow.os_memory_used_bytes, slow.os_memory_total_bytes)

    def test_may_be_absent(self, opened: Open, tmp_path: Path, clock: ManualClock):
        """A container may not see the kernel's page; then nothing is known, and nothing fails."""
        driver, _ = opened("gh200", gpus=1)
        driver.set(0, numa_node=1)
        backend = NvmlBackend(clock, sysfs=tmp_path)

        assert None is backend.open().devices[0].read_slow().os_memory_total_bytes
        backend.close()


class TestTopProcesses:
    def read(self, opened: Open, clock: ManualClock, count: int) -> GpuSlowReading:
        driver, _ = opened(gpus=1)
        driver.set_processes(0, [(1, 10), (2, 40), (3, 30), (4, 20)], [1, 2, 3, 4])
        backend = NvmlBackend(clock, Options(top_processes=count))
        slow = backend.open().devices[0].read_slow()
        backend.close()
        return slow

    def test_the_heaviest_and_the_others(self, opened: Open, clock: ManualClock):
        """As many as were asked for by the memory that they hold, and the rest as one."""
        assert (ProcessUse(2, 40, 0.02), ProcessUse(3, 30, 0.03), ProcessUse(None, 30, 0.05)) == (
            self.read(opened, clock, 2).top_processes
        )

    def test_nobody_is_other_where_all_are_named(self, opened: Open, clock: ManualClock):
        """There is no sum of nothing."""
        assert [2, 3, 4, 1] == [use.pid for use in self.read(opened, clock, 10).top_processes or ()]
