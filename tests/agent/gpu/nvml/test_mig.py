"""MIG: instances come, go and are confused with nobody; what belongs to the board is never theirs."""

from pathlib import Path

import pytest
from support.gpus.fakedepth import (
    create_mig,
    destroy_mig,
    disable_mig,
    enable_mig,
    mig_uuid,
    set_mig_processes,
)
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.gpu.backend import GenerationEnded
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.traits import Options

MIB, GIB = 1 << 20, 1 << 30


class Divided:
    """A fake GPU 0 beside a whole GPU 1; time passes on both clocks."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.driver = FakeDriver.create(folder, gpus=2).install()
        self.clock = clock
        self.backend = NvmlBackend(clock, Options(gpm="on"))

    def open(self) -> None:
        self.devices = self.backend.open().devices

    def read(self) -> GpuReading:
        return self.devices[0].read()

    def read_slow(self, after_seconds: float = 10.0) -> GpuSlowReading:
        self.driver.advance(after_seconds)
        self.clock.advance(after_seconds)
        return self.devices[0].read_slow()

    def uuids(self) -> list[str]:
        mig = self.read_slow().mig
        assert mig is not None
        return [reading.uuid for reading in mig]


@pytest.fixture
def divided(tmp_path: Path, clock: ManualClock):
    divided = Divided(tmp_path, clock)
    with divided.driver:
        enable_mig(divided.driver, 0)
        divided.open()
        yield divided
        divided.backend.close()


def test_an_instance_has_what_is_its_own(divided: Divided):
    """Its numbers, its size, its memory, and what its SMs did since the read before."""
    uuid = create_mig(
        divided.driver, 0, 2, gpu_instance=9, compute_instance=1, gpm_percent=40, memory_used_bytes=3 * GIB
    )
    divided.read_slow()
    reading = divided.read_slow()

    assert reading.mig is not None
    (mig,) = reading.mig
    assert mig == MigReading(
        uuid=uuid,
        gpu_instance=9,
        compute_instance=1,
        profile="1g.10gb",
        gpu_slices=1,
        compute_slices=1,
        multiprocessors=16,
        memory_used_bytes=3 * GIB,
        memory_reserved_bytes=0,
        memory_total_bytes=9984 * MIB,
        gpm=mig.gpm,
    )
    assert mig.gpm is not None
    assert (0.4, 10.0) == (mig.gpm.sm_active_ratio, mig.gpm.window_seconds)


def test_power_and_energy_stay_with_the_board(divided: Divided):
    """No instance has joules or watts, so that no sum over instances can multiply them."""
    assert not [name for name in MigReading.__struct_fields__ if "energy" in name or "power" in name]
    divided.driver.advance(10.0)
    assert (1000.0, 100.0) == (divided.read().energy_joules, divided.read().power_watts)


def test_a_whole_gpu_has_none(divided: Divided):
    """Not divided is another thing than divided without an instance."""
    assert (None, ()) == (divided.devices[1].read_slow().mig, divided.read_slow().mig)


def test_slots_may_be_empty(divided: Divided):
    """Sparse indices are normal, and are no failure."""
    for slot in (1, 4, 6):
        create_mig(divided.driver, 0, slot)

    assert [mig_uuid(0, slot) for slot in (1, 4, 6)] == divided.uuids()
    assert {} == divided.read().failed_calls


def test_instances_come_and_go(divided: Divided):
    """Every slow read sees what there is; the samples of the dead are freed."""
    enable_mig(divided.driver, 0, instances=7)
    for _ in range(3):
        divided.read_slow()
    assert 14 == divided.driver.gpm_samples["held"]

    for slot in range(1, 7):
        destroy_mig(divided.driver, 0, slot)

    assert [mig_uuid(0, 0)] == divided.uuids()
    assert 2 == divided.driver.gpm_samples["held"]


def test_a_number_that_is_given_again_mixes_nothing(divided: Divided):
    """Another instance with the same GPU-instance id has its own samples: no delta spans the two."""
    create_mig(divided.driver, 0, 0, gpm_percent=90)
    divided.read_slow()
    destroy_mig(divided.driver, 0, 0)
    create_mig(divided.driver, 0, 0, gpm_percent=20)
    readings = [divided.read_slow().mig for _ in range(2)]

    assert [None, 0.2] == [mig[0].gpm and mig[0].gpm.sm_active_ratio for mig in readings]
    assert {"held": 2, "late": 0, "mixed": 0} == divided.driver.gpm_samples


@pytest.mark.parametrize("code", [2, 6, 15, 999])
@pytest.mark.parametrize("function", ["nvmlDeviceGetMigDeviceHandleByIndex", "nvmlDeviceGetGpuInstanceId"])
def test_an_instance_that_dies_while_it_is_read_is_absent(divided: Divided, function: str, code: int):
    """Its handle fails, whatever the code: the GPU is well, and the next read sees what is there then."""
    enable_mig(divided.driver, 0, instances=2)
    divided.driver.fail(function, 0, code, times=1)

    assert [mig_uuid(0, 1)] == divided.uuids()
    assert [mig_uuid(0, 0), mig_uuid(0, 1)] == divided.uuids()
    assert 100.0 == divided.read().power_watts


def test_a_monitor_that_is_refused_is_asked_once(divided: Divided):
    """An instance without performance keeps its memory."""
    create_mig(divided.driver, 0, 0)
    divided.driver.fail("nvmlGpmMigSampleGet", 0, code=3)
    readings = [divided.read_slow().mig for _ in range(3)]

    assert [(None, 9984 * MIB)] * 3 == [(mig[0].gpm, mig[0].memory_total_bytes) for mig in readings]
    assert 1 == divided.driver.calls("nvmlGpmMigSampleGet")
    assert 0 == divided.driver.gpm_samples["held"]


def test_utilisation_is_not_asked_of_what_is_divided(divided: Divided):
    """The driver cannot tell it; a GPU that is made whole again tells it again, without a new start."""
    for _ in range(3):
        assert None is divided.read().utilization_ratio
        divided.read_slow()
    assert 0 == divided.driver.calls("nvmlDeviceGetUtilizationRates", 0)

    disable_mig(divided.driver, 0)
    divided.driver.set(0, utilization_percent=50)

    assert None is divided.read_slow().mig
    assert 0.5 == divided.read().utilization_ratio

    enable_mig(divided.driver, 0, instances=1)

    assert [mig_uuid(0, 0)] == divided.uuids()
    assert None is divided.read().utilization_ratio


def test_a_driver_that_went_away_is_told(divided: Divided):
    """Only the end of a generation is more than an instance's own trouble."""
    enable_mig(divided.driver, 0, instances=1)
    divided.driver.fail("nvmlDeviceGetMigDeviceHandleByIndex", 0, code=1)

    with pytest.raises(GenerationEnded):
        divided.read_slow()


def test_sixteen_gpus_in_seven_parts(tmp_path: Path, clock: ManualClock):
    """Every instance is there, and costs five calls in each slow read; no sample is left behind."""
    with FakeDriver.create(tmp_path, gpus=16).install() as driver:
        for gpu in range(16):
            enable_mig(driver, gpu, instances=7)
        backend = NvmlBackend(clock, Options(gpm="on"))
        devices = backend.open().devices
        for _ in range(3):
            before = driver.calls()
            readings = [device.read_slow() for device in devices]
            calls = driver.calls() - before
            driver.advance(10.0)
            clock.advance(10.0)

        assert 112 == len({mig.uuid for reading in readings for mig in reading.mig or ()})
        assert 16 * (15 + 7 * 5) == calls

        backend.close()
        assert {"held": 0, "late": 0, "mixed": 0} == driver.gpm_samples


class TestProcesses:
    """Which instance a process computes in: one call more than nothing, or one for each instance."""

    @staticmethod
    def places(divided: Divided) -> dict[int, str] | None:
        processes = divided.read_slow().processes
        return None if processes is None else {process.pid: process.mig for process in processes}

    def test_by_one_call(self, divided: Divided):
        """The whole GPU's list names the instance of each; one that has ended in between is in none."""
        first, second = (create_mig(divided.driver, 0, slot) for slot in (0, 3))
        set_mig_processes(divided.driver, 0, {100: 0, 101: 3, 102: 3, 103: 5})

        assert {100: first, 101: second, 102: second, 103: ""} == self.places(divided)
        assert 0 == divided.driver.calls("nvmlDeviceGetProcessUtilization", 0)

    def test_compute_instances_of_one_gpu_instance(self, divided: Divided):
        """They have the number of the GPU instance in common, and their own is what tells them apart."""
        one, other = (
            create_mig(divided.driver, 0, slot, gpu_instance=2, compute_instance=slot) for slot in (0, 1)
        )
        set_mig_processes(divided.driver, 0, {100: 1, 101: 0})

        assert {100: other, 101: one} == self.places(divided)

    def test_by_instance(self, divided: Divided):
        """Where the whole GPU's list is not permitted, each instance is asked, and that call left alone."""
        enable_mig(divided.driver, 0, instances=7)
        set_mig_processes(divided.driver, 0, {100: 0, 101: 6})
        divided.driver.fail("nvmlDeviceGetComputeRunningProcesses_v3", 0, code=4, times=1)

        expected = {100: mig_uuid(0, 0), 101: mig_uuid(0, 6)}
        assert expected == self.places(divided)
        before = divided.driver.calls("nvmlDeviceGetComputeRunningProcesses_v3", 0)
        assert expected == self.places(divided)
        # The binding calls twice where there is something to fetch.
        assert 7 + 2 == divided.driver.calls("nvmlDeviceGetComputeRunningProcesses_v3", 0) - before

    def test_not_told(self, divided: Divided):
        """What is refused of every instance is not known, which is not the same as nobody."""
        enable_mig(divided.driver, 0, instances=2)
        divided.driver.fail("nvmlDeviceGetComputeRunningProcesses_v3", 0, code=4)

        assert None is self.places(divided)

    def test_one_that_dies(self, divided: Divided):
        """An instance that dies while it is asked has no process; the others keep theirs."""
        enable_mig(divided.driver, 0, instances=2)
        set_mig_processes(divided.driver, 0, {100: 0, 101: 1})
        divided.driver.fail("nvmlDeviceGetComputeRunningProcesses_v3", 0, code=4, times=1)
        divided.driver.fail("nvmlDeviceGetComputeRunningProcesses_v3", 0, code=2, times=1)

        assert {101: mig_uuid(0, 1)} == self.places(divided)


def test_slices_of_the_whole(divided: Divided):
    """A divided GPU tells how many slices of compute it has, with and without an instance."""
    assert 7 == divided.read_slow().mig_slices
    assert None is divided.devices[1].read_slow().mig_slices
    create_mig(divided.driver, 0, 0)
    assert 7 == divided.read_slow().mig_slices


def test_a_mode_that_is_not_told_for_once(divided: Divided):
    """A driver that fails to say whether the GPU is divided has not made it whole."""
    enable_mig(divided.driver, 0, instances=1)
    divided.read_slow()
    divided.driver.fail("nvmlDeviceGetMigMode", 0, code=999, times=1)

    assert [mig_uuid(0, 0)] == divided.uuids()


def test_what_an_instance_fails_to_tell(divided: Divided):
    """
    It is asked again until it came, and the reading says meanwhile which call failed; what it never gives is
    not asked again.
    """
    failing = divided.driver.fail("nvmlDeviceGetAttributes_v2", 0, code=999)
    create_mig(divided.driver, 0, 0)
    mig = divided.read_slow().mig

    assert mig is not None
    assert ("", {"mig_attributes": "unknown"}) == (mig[0].profile, divided.read().failed_calls)

    failing.release()
    mig = divided.read_slow().mig
    assert mig is not None
    assert ("1g.10gb", {}) == (mig[0].profile, divided.read().failed_calls)

    refused = divided.driver.fail("nvmlDeviceGetAttributes_v2", 0, code=3)
    create_mig(divided.driver, 0, 1)
    divided.read_slow()
    before = divided.driver.calls("nvmlDeviceGetAttributes_v2")
    divided.read_slow()
    assert before == divided.driver.calls("nvmlDeviceGetAttributes_v2")
    refused.release()


@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("nvmlDeviceGetMigDeviceHandleByIndex", "mig_instance"),
        ("nvmlDeviceGetMemoryInfo_v2", "mig_instance"),
        ("nvmlGpmMigSampleGet", "mig_monitor"),
    ],
)
def test_an_instance_that_fails_is_told(divided: Divided, function: str, call: str):
    """That it is not there, or says less, is not put down to its end."""
    create_mig(divided.driver, 0, 0)
    divided.read_slow()
    divided.driver.fail(function, 0, code=27)
    divided.read_slow()

    assert "not_ready" == divided.read().failed_calls[call]
