"""A fact that the GPU refuses is not requested for a while, and comes back when the GPU supports it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gpus.fakedepth import create_mig, disable_mig, enable_mig
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import GpuFailure
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.calls import REFUSED_RETRY_SECONDS
from perwatt_agent.gpu.nvml.driver.traits import Options

NOT_SUPPORTED = 3


class Board:
    """A fake GPU with some load; time passes on both clocks."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.driver = FakeDriver.create(folder, gpus=1).install()
        self.driver.set(0, utilization_percent=50, fan_count=1, fan_percent=(40,))
        self.driver.set_processes(0, [(1, 10)], [50])
        self.clock = clock
        self.backend = NvmlBackend(clock, Options(gpm="on"))
        self.device = self.backend.open().devices[0]

    def read(self, seconds: float = 10.0) -> tuple[GpuReading, GpuSlowReading]:
        """Time for two samples of GPM, and then one reading of each tier."""
        self.device.read()
        for _ in range(2):
            self.driver.advance(seconds / 2)
            self.clock.advance(seconds / 2)
            slow = self.device.read_slow()
            fast = self.device.read()
        return fast, slow

    def toggle_mig(self) -> None:
        enable_mig(self.driver, 0)
        self.read()
        disable_mig(self.driver, 0)

    def wait(self) -> None:
        self.driver.advance(REFUSED_RETRY_SECONDS)
        self.clock.advance(REFUSED_RETRY_SECONDS)

    def lose(self) -> None:
        lost = self.driver.lose(0)
        with pytest.raises(GpuFailure):
            self.device.read()
        lost.release()


@pytest.fixture
def board(tmp_path: Path, clock: ManualClock):
    board = Board(tmp_path, clock)
    with board.driver:
        yield board
        board.backend.close()


FACTS: dict[str, Callable[[GpuReading, GpuSlowReading], Any]] = {
    "nvmlDeviceGetFieldValues": lambda _, slow: slow.remapped_rows_pending,
    "field:142": lambda _, slow: slow.remapped_rows_corrected,
    "field:1": lambda _, slow: slow.ecc_enabled,
    "field:52": lambda _, slow: slow.nvlink_errors.get("replay"),
    "field:190": lambda _, slow: slow.power_limit_watts,
    "field:138": lambda fast, _: fast.nvlink_transmitted_bytes,
    "field:74": lambda fast, _: fast.throttled_seconds.get("sw_power_cap"),
    "field:82": lambda fast, _: fast.temperature_memory_celsius,
    "field:185": lambda fast, _: fast.power_is_mean or None,
    "nvmlDeviceGetUtilizationRates": lambda fast, _: fast.utilization_ratio,
    "nvmlDeviceGetGpuFabricInfoV": lambda _, slow: slow.fabric_state,
    "nvmlDeviceGetFanSpeed_v2": lambda _, slow: slow.fan_ratios or None,
    "nvmlDeviceGetMaxPcieLinkWidth": lambda _, slow: slow.pcie_width_max,
    "nvmlDeviceGetVirtualizationMode": lambda _, slow: slow.virtualization_mode,
    "nvmlDeviceGetProcessUtilization": lambda _, slow: slow.processes and slow.processes[0].sm_ratio,
    "nvmlGpmQueryDeviceSupport": lambda fast, _: fast.gpm,
    "gpm:2": lambda fast, _: fast.gpm and fast.gpm.sm_active_ratio,
}
"""What is refused, and a fact that goes with it."""


@pytest.mark.parametrize("trigger", [Board.toggle_mig, Board.wait, Board.lose])
@pytest.mark.parametrize("refused", FACTS)
def test_comes_back(board: Board, refused: str, trigger: Callable[[Board], None]):
    """After MIG was on, after ten minutes, and after the GPU was lost, what is supported now is read."""
    refusals = [board.driver.fail(refused, 0, NOT_SUPPORTED)]
    if refused == "field:190":
        refusals.append(board.driver.fail("nvmlDeviceGetEnforcedPowerLimit", 0, NOT_SUPPORTED))
    assert None is FACTS[refused](*board.read())
    for refusal in refusals:
        refusal.release()
    trigger(board)

    assert None is not FACTS[refused](*board.read())


@pytest.mark.parametrize("refused", FACTS)
def test_is_left_alone_meanwhile(board: Board, refused: str):
    """What is refused is requested once in ten minutes, however often the GPU is read."""
    board.driver.set(0, virtualization_mode=-1)
    board.driver.fail(refused, 0, NOT_SUPPORTED)
    board.read()
    before = board.driver.calls(refused, 0)
    for _ in range(6):
        board.read(20.0)
    assert before == board.driver.calls(refused, 0)

    board.wait()
    board.read()
    # Both tiers have a batch of fields; the reading of the performance monitor is a pair of samples.
    assert before < board.driver.calls(refused, 0) <= before + 2


def test_a_constant_without_value_is_read_again(board: Board):
    """A link that was down when its maximum was read has one later; what has a value is not read again."""
    board.driver.set(0, pcie_width_max=0xFFFFFFFF)
    board.read()
    board.driver.set(0, pcie_width_max=16)
    before = board.driver.calls("nvmlDeviceGetMaxPcieLinkGeneration", 0)

    assert None is board.read()[1].pcie_width_max
    board.wait()
    assert 16 == board.read()[1].pcie_width_max
    assert before == board.driver.calls("nvmlDeviceGetMaxPcieLinkGeneration", 0)


def test_a_counter_is_not_exchanged_for_another(board: Board):
    """The counter in use is kept, because the increase from one counter to another is no traffic."""
    refusal = board.driver.fail("field:138", 0, NOT_SUPPORTED)
    board.driver.set(0, architecture=10)
    before, _ = board.read()
    assert None is not before.nvlink_transmitted_bytes
    refusal.release()
    board.wait()
    calls = board.driver.calls("field:138", 0)
    board.read()

    assert calls == board.driver.calls("field:138", 0)


def test_a_metric_that_one_instance_refuses_is_requested_of_the_others(board: Board):
    """Instances of different size support different metrics."""
    enable_mig(board.driver, 0)
    for slot in range(2):
        create_mig(board.driver, 0, slot, gpm_percent=40)
    board.device.read_slow()
    board.driver.fail("gpm:2", 0, NOT_SUPPORTED, times=1)
    _, slow = board.read()

    assert [None, 0.4] == [each.gpm and each.gpm.sm_active_ratio for each in slow.mig or ()]
