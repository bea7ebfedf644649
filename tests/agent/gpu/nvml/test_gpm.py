"""The performance monitor of Hopper and newer: what two samples say, and that none of them is lost."""

import math
from pathlib import Path
from typing import Any

import pytest
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpm import GpmMode, GpmReading
from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.backend import GenerationEnded
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.traits import Options

MIB = 1 << 20
PERCENT = {2: 80.0, 3: 45.5, 5: 62.0, 10: 71.0, 11: 0.0, 12: 12.0, 13: 3.0}
MIB_PER_SECOND = {20: 1000.0, 21: 2000.0, 60: 4000.0, 61: 8000.0}


class Monitored:
    """One fake GPU with everything it needs; time passes on both clocks."""

    def __init__(self, folder: Path, clock: ManualClock, gpm: GpmMode = "on", **profile: Any) -> None:
        self.driver = FakeDriver.create(folder, gpus=1, **profile).install()
        self.driver.set(0, gpm_value={**PERCENT, **MIB_PER_SECOND}, clock_mhz=(1980, 2000, 2619))
        self.clock = clock
        self.proc = folder / "proc"
        self.backend = NvmlBackend(clock, Options(gpm=gpm), proc=self.proc)

    def open(self) -> None:
        self.device = self.backend.open().devices[0]

    def read(self, after_seconds: float = 1.0) -> GpuReading:
        self.driver.advance(after_seconds)
        self.clock.advance(after_seconds)
        return self.device.read()


@pytest.fixture
def monitored(tmp_path: Path, clock: ManualClock):
    monitored = Monitored(tmp_path, clock)
    with monitored.driver:
        monitored.open()
        yield monitored
        monitored.backend.close()


def test_is_in_base_units(monitored: Monitored):
    """Ratios and bytes a second over the time between two reads; the first read has nothing to say."""
    first, second = monitored.read(), monitored.read(2.0)

    assert None is first.gpm
    assert second.gpm == GpmReading(
        monotonic_seconds=monitored.clock.monotonic(),
        window_seconds=2.0,
        sm_active_ratio=0.8,
        sm_occupancy_ratio=0.455,
        tensor_active_ratio=0.62,
        dram_bandwidth_ratio=0.71,
        fp64_active_ratio=0.0,
        fp32_active_ratio=0.12,
        fp16_active_ratio=0.03,
        pcie_transmitted_bytes_per_second=1000 * MIB,
        pcie_received_bytes_per_second=2000 * MIB,
        nvlink_received_bytes_per_second=4000 * MIB,
        nvlink_transmitted_bytes_per_second=8000 * MIB,
    )


def test_cycles_are_counted_where_the_driver_knows_them(monitored: Monitored):
    """Cumulative metrics are asked of drivers since 595 only, whatever the binding knows."""
    monitored.read()

    assert {} == monitored.read().gpm.cycles
    assert 0 == monitored.driver.calls("gpm:248")

    monitored.driver.set_driver_version("595.10")
    monitored.open()
    monitored.read()
    cycles = monitored.read().gpm.cycles

    assert 2e9 * monitored.driver.now == cycles["elapsed"]
    assert {"active", "tensor", "fp64", "fp32", "fp16"} == cycles.keys() - {"elapsed"}
    assert {0.8 * cycles["elapsed"]} == {cycles[name] for name in cycles.keys() - {"elapsed"}}


def test_samples_lie_five_seconds_apart(monitored: Monitored):
    """Nobody waits long for the first reading; those between two samples share one, as of its instant."""
    readings = [monitored.read().gpm for _ in range(12)]
    now = monitored.clock.monotonic()
    windows = [reading and (now - reading.monotonic_seconds, reading.window_seconds) for reading in readings]

    assert [None, *[(10.0, 1.0)] * 5, *[(5.0, 5.0)] * 5, (0.0, 5.0)] == windows
    assert 4 == monitored.driver.calls("nvmlGpmSampleGet")


def test_quick_sweeps_wait_for_the_first_window(monitored: Monitored):
    """Samples that lie too close say nothing, however often a GPU is read."""
    readings = [monitored.read(0.1).gpm for _ in range(11)]

    assert [None] * 9 == readings[:9]
    assert [pytest.approx(0.9)] * 2 == [reading.window_seconds for reading in readings[9:]]
    assert 2 == monitored.driver.calls("nvmlGpmSampleGet")


def test_an_old_sample_is_not_compared_with(monitored: Monitored):
    """After more than ten minutes the next sample is a first one."""
    monitored.read()

    assert [None, 1.0] == [
        reading.gpm and reading.gpm.window_seconds for reading in (monitored.read(601.0), monitored.read())
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 150.0])
def test_what_is_no_ratio_is_absent(monitored: Monitored, value: float):
    """The monitor gives NaN where it has seen nothing; no such number is shown."""
    monitored.read()
    monitored.driver.set(0, gpm_value={2: value})
    gpm = monitored.read().gpm

    assert (None, 0.455) == (gpm.sm_active_ratio, gpm.sm_occupancy_ratio)


def test_a_metric_that_is_refused_is_asked_once(monitored: Monitored):
    """Each metric has a return code of its own; the others stay."""
    monitored.driver.fail("gpm:5", 0, code=3)
    readings = [monitored.read(5.0).gpm for _ in range(4)][1:]

    assert [(None, 0.8)] * 3 == [(gpm.tensor_active_ratio, gpm.sm_active_ratio) for gpm in readings]
    assert 1 == monitored.driver.calls("gpm:5")


def test_a_metric_that_fails_comes_back(monitored: Monitored):
    """A failure that may pass costs one reading of one metric."""
    monitored.driver.fail("gpm:2", 0, code=21, times=1)
    readings = [monitored.read().gpm, *(monitored.read(5.0).gpm for _ in range(2))][1:]

    assert [None, 0.8] == [gpm.sm_active_ratio for gpm in readings]


@pytest.mark.parametrize("architecture", ["ada", "ga100", "volta"])
def test_older_boards_have_none(tmp_path: Path, clock: ManualClock, architecture: str):
    """A board without the monitor is asked once whether it has one, and no sample is made for it."""
    monitored = Monitored(tmp_path, clock, architecture=architecture)
    with monitored.driver:
        monitored.open()

        assert [None] * 5 == [monitored.read().gpm for _ in range(5)]
        assert 1 == monitored.driver.calls("nvmlGpmQueryDeviceSupport")
        assert 0 == monitored.driver.gpm_samples["held"]


def test_a_permission_is_asked_for_again_slowly(monitored: Monitored, caplog: pytest.LogCaptureFixture):
    """A container may lose the right after minutes: everything else stays, and it may come back."""
    monitored.read()
    forbidden = monitored.driver.fail("nvmlGpmSampleGet", 0, code=4)
    readings = [monitored.read() for _ in range(30)]

    assert [(None, 100.0)] * 30 == [(reading.gpm, reading.power_watts) for reading in readings]
    assert 2 == monitored.driver.calls("nvmlGpmSampleGet")
    assert 1 == len(caplog.records)

    forbidden.release()
    monitored.read(60.0)

    assert 0.8 == monitored.read().gpm.sm_active_ratio


class TestSamples:
    def test_two_a_gpu_and_freed_before_the_library_is_shut_down(self, monitored: Monitored):
        """However long it runs there are two, and none after the end."""
        for _ in range(50):
            monitored.read()

        assert {"held": 2, "late": 0, "mixed": 0} == monitored.driver.gpm_samples

        monitored.backend.close()

        assert {"held": 0, "late": 0, "mixed": 0} == monitored.driver.gpm_samples

    def test_those_of_a_dead_generation_are_left_alone(self, monitored: Monitored):
        """They went with their driver: to free them may crash its library."""
        monitored.read()
        monitored.driver.reload_driver()
        with pytest.raises(GenerationEnded):
            monitored.read()
        monitored.open()
        monitored.read()

        assert 0.8 == monitored.read().gpm.sm_active_ratio
        assert {"held": 2, "late": 0, "mixed": 0} == monitored.driver.gpm_samples


class TestModes:
    def process(self, monitored: Monitored, name: str) -> Path:
        folder = monitored.proc / "4711"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "comm").write_text(f"{name}\n")
        return folder

    def test_off(self, tmp_path: Path, clock: ManualClock):
        """Nothing of it is asked for."""
        monitored = Monitored(tmp_path, clock, gpm="off")
        with monitored.driver:
            monitored.open()
            readings = [monitored.read().gpm for _ in range(3)]

            assert [None] * 3 == readings
            assert not [name for name in monitored.driver.calls_by_function() if "Gpm" in name]

    @pytest.mark.parametrize("program", ["nv-hostengine", "dcgm-exporter"])
    def test_auto_gives_way_to_dcgm(self, tmp_path: Path, clock: ManualClock, program: str):
        """While DCGM runs there are no samples; it is looked for once a minute."""
        monitored = Monitored(tmp_path, clock, gpm="auto")
        with monitored.driver:
            monitored.open()
            monitored.read()
            assert 0.8 == monitored.read().gpm.sm_active_ratio

            process = self.process(monitored, program)
            monitored.read(60.0)
            before = monitored.driver.calls("nvmlGpmSampleGet")
            assert [None] * 3 == [monitored.read().gpm for _ in range(3)]
            assert before == monitored.driver.calls("nvmlGpmSampleGet")

            (process / "comm").unlink()
            assert [None, 0.8] == [
                reading.gpm and reading.gpm.sm_active_ratio
                for reading in (monitored.read(60.0), monitored.read())
            ]

    def test_on_goes_beside_dcgm(self, monitored: Monitored):
        """Who asks for it has it."""
        self.process(monitored, "nv-hostengine")
        monitored.read()

        assert 0.8 == monitored.read().gpm.sm_active_ratio
