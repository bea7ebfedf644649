"""Opening and closing the NVML backend: generations, identity, and what it says when it cannot."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pynvml
import pytest
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.gpu.backend import BackendBroken, BackendUnavailable, GenerationEnded
from perwatt_agent.gpu.nvml.backend import NvmlBackend


@pytest.fixture
def driver(tmp_path: Path):
    with FakeDriver.create(tmp_path, gpus=3).install() as driver:
        yield driver


@pytest.fixture
def backend(driver: FakeDriver, clock: ManualClock):
    backend = NvmlBackend(clock)
    yield backend
    backend.close()


class TestOpen:
    def test_names_versions_and_gpus(self, driver: FakeDriver, backend: NvmlBackend):
        """A generation holds the driver's versions and who its GPUs are, all text."""
        generation = backend.open()

        assert ("580.95.05", "13.580.95.05") == (generation.driver_version, generation.nvml_version)
        assert [driver.uuid(gpu) for gpu in range(3)] == [device.info.uuid for device in generation.devices]
        assert generation.devices[1].info == GpuInfo(
            uuid="GPU-00000001-fa4e-4000-8000-000000000001",
            index=1,
            name="NVIDIA H100 80GB HBM3",
            pci_bus_id="00000000:20:00.0",
            architecture="hopper",
            serial="1652924000001",
            vbios_version="96.00.A5.00.01",
            minor_number=1,
        )

    @pytest.mark.parametrize(
        ("profile", "architecture"),
        [("pascal", "pascal"), ("volta", "volta"), ("ga100", "ampere"), ("ada", "ada"), ("gh200", "hopper")],
    )
    def test_names_the_architecture(
        self, tmp_path: Path, clock: ManualClock, profile: str, architecture: str
    ):
        """The architecture is a word."""
        with FakeDriver.create(tmp_path, architecture=profile).install():
            assert architecture == NvmlBackend(clock).open().devices[0].info.architecture

    def test_an_unknown_architecture_has_no_name(self, driver: FakeDriver, backend: NvmlBackend):
        """What is newer than the table is not given a wrong name."""
        driver.set(0, architecture=0xFFFFFFFF)

        assert "" == backend.open().devices[0].info.architecture

    @pytest.mark.parametrize(
        ("function", "field"),
        [
            ("nvmlDeviceGetName", "name"),
            ("nvmlDeviceGetSerial", "serial"),
            ("nvmlDeviceGetVbiosVersion", "vbios_version"),
            ("nvmlDeviceGetPciInfo_v3", "pci_bus_id"),
            ("nvmlDeviceGetArchitecture", "architecture"),
        ],
    )
    def test_a_name_that_is_not_given_is_empty(
        self, driver: FakeDriver, backend: NvmlBackend, function: str, field: str
    ):
        """A GPU is known by its UUID; anything else about it may be missing."""
        driver.fail(function, 1, 3)

        assert "" == getattr(backend.open().devices[1].info, field)

    def test_text_that_is_none_is_empty(self, driver: FakeDriver, backend: NvmlBackend):
        """A board's memory may hold bytes that are no text."""
        driver.set(0, serial="")
        driver._control.gpus[0].serial = b"\xff\xfe"

        assert "" == backend.open().devices[0].info.serial

    def test_zero_gpus_is_a_generation(self, driver: FakeDriver, backend: NvmlBackend):
        """A driver without GPUs answers all the same."""
        driver.set_gpu_count(0)

        assert () == backend.open().devices

    def test_sixteen_gpus(self, driver: FakeDriver, backend: NvmlBackend):
        """The largest node."""
        driver.set_gpu_count(16)

        assert 16 == len(backend.open().devices)

    @pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"])
    @pytest.mark.parametrize("code", [1, 4, 9, 15, 18, 28, 999, 777])
    def test_a_gpu_without_identity_is_counted(
        self,
        driver: FakeDriver,
        backend: NvmlBackend,
        function: str,
        code: int,
        caplog: pytest.LogCaptureFixture,
    ):
        """A GPU that cannot say who it is counts as unidentified, is logged once, and spoils no other."""
        driver.fail(function, 1, code)
        generation = backend.open()

        assert 1 == generation.unidentified
        assert [0, 2] == [device.info.index for device in generation.devices]
        assert 1 == len(caplog.records)

    @pytest.mark.slow
    def test_a_gpu_that_hangs_costs_only_its_own_identity(self, driver: FakeDriver, backend: NvmlBackend):
        """The others are found in time, and the driver is not shut down under the call that hangs."""
        hang = driver.hang("nvmlDeviceGetUUID", 1)
        generation = backend.open()

        assert 1 == generation.unidentified
        assert [0, 2] == [device.info.index for device in generation.devices]
        backend.close()
        assert 0 == driver.calls("nvmlShutdown")

        hang.release()

    @pytest.mark.slow
    def test_who_hangs_is_asked_once(self, driver: FakeDriver, backend: NvmlBackend):
        """
        However often the driver is opened meanwhile, one thread hangs, and no start or refresh waits for
        it; when it has returned, all is asked, and every start is made up for.
        """
        threads = threading.active_count()
        hang = driver.hang("nvmlDeviceGetUUID", 1)
        for _ in range(5):
            generation = backend.open()
            assert 1 == generation.unidentified
        assert (1, threads + 1) == (hang.hanging, threading.active_count())
        assert 0 == driver.calls("nvmlShutdown")
        inventory = generation.inventory
        assert inventory is not None
        assert inventory.refresh() is generation
        assert not inventory.is_outdated

        hang.release()
        while not inventory.is_outdated:
            time.sleep(0.001)
        assert 3 == len(inventory.refresh().devices)
        backend.close()
        assert 5 == driver.calls("nvmlInitWithFlags") == driver.calls("nvmlShutdown")

    @pytest.mark.slow
    def test_a_read_that_hangs_keeps_the_driver_up(self, driver: FakeDriver, backend: NvmlBackend):
        """
        Whoever opens anew, the driver is not shut down under a call; what was put off does not come in after
        its generation is over.
        """
        device = backend.open().devices[1]
        hang = driver.hang("nvmlDeviceGetUtilizationRates", 1)
        reading = threading.Thread(target=device.read)
        reading.start()
        hang.wait_until_hanging()
        second = backend.open()
        assert 0 == driver.calls("nvmlShutdown")
        with pytest.raises(GenerationEnded):
            device.read()

        hang.release()
        reading.join()
        backend.open()
        assert 2 == driver.calls("nvmlShutdown")
        with pytest.raises(GenerationEnded):
            second.devices[0].read()

    def test_costs_no_import_until_opened(self):
        """A process that never opens NVML does not load its binding."""
        program = (
            "import sys; from perwatt_agent.gpu.nvml.backend import NvmlBackend;"
            "from perwatt_agent.clock import SystemClock; NvmlBackend(SystemClock()).close();"
            "print('pynvml' in sys.modules)"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert "False\n" == result.stdout


class TestUnavailable:
    @pytest.mark.parametrize(
        ("code", "reason", "remedy"),
        [
            pytest.param(12, "library_not_found", "install the NVIDIA driver", id="no library"),
            pytest.param(9, "driver_not_loaded", "modprobe nvidia", id="no driver"),
            pytest.param(4, "no_permission", "/dev/nvidiactl", id="no permission"),
            pytest.param(999, "unknown", "dmesg", id="unknown"),
            pytest.param(777, "other", "NVML code 777", id="code of a later driver"),
        ],
    )
    @pytest.mark.parametrize(
        "function", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlSystemGetDriverVersion"]
    )
    def test_says_why_and_what_to_do(
        self, driver: FakeDriver, backend: NvmlBackend, function: str, code: int, reason: str, remedy: str
    ):
        """Whatever fails at the start is named by a word, with a remedy, and may be tried again."""
        failure = driver.fail(function, code=code)
        with pytest.raises(BackendUnavailable, match=remedy) as raised:
            backend.open()

        assert reason == raised.value.reason
        assert not isinstance(raised.value, BackendBroken)

        failure.release()

        assert 3 == len(backend.open().devices)

    def test_a_replaced_driver_needs_a_new_process(self, driver: FakeDriver, backend: NvmlBackend):
        """Code 18 cannot be cured from within: the library in use belongs to the driver of before."""
        driver.fail("nvmlInitWithFlags", code=18)
        with pytest.raises(BackendBroken, match="restart perwatt") as raised:
            backend.open()

        assert "version_mismatch" == raised.value.reason

    def test_nothing_stays_open_after_a_failure(self, driver: FakeDriver, backend: NvmlBackend):
        """A start that fails half-way is undone, else the driver's count of users would never come to 0."""
        driver.fail("nvmlDeviceGetCount_v2", code=999)
        with pytest.raises(BackendUnavailable):
            backend.open()

        assert driver.calls("nvmlInitWithFlags") == driver.calls("nvmlShutdown")

    def test_no_library_at_all(self, clock: ManualClock):
        """Without the driver's library on this machine the backend says so."""
        program = (
            "from perwatt_agent.gpu.nvml.backend import NvmlBackend\n"
            "from perwatt_agent.clock import SystemClock\n"
            "import ctypes; ctypes.CDLL = lambda *_: (_ for _ in ()).throw(OSError())\n"
            "from perwatt_agent.gpu.backend import BackendUnavailable\n"
            "try: NvmlBackend(SystemClock()).open()\n"
            "except BackendUnavailable as error: print(error.reason)"
        )
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert "library_not_found\n" == result.stdout

    def test_a_driver_that_goes_while_gpus_are_listed(self, driver: FakeDriver, backend: NvmlBackend):
        """A reload in the middle of a start, which all GPUs tell of, is a failed start."""
        driver.fail("nvmlDeviceGetUUID", code=1)

        with pytest.raises(BackendUnavailable):
            backend.open()


class TestGenerations:
    @pytest.mark.parametrize("code", [1, 9, 18])
    @pytest.mark.parametrize(
        "function", ["nvmlDeviceGetFieldValues", "nvmlDeviceGetUtilizationRates", "field:83"]
    )
    def test_ends_when_the_driver_goes(
        self, driver: FakeDriver, backend: NvmlBackend, function: str, code: int
    ):
        """Whichever call notices that the driver went away, the generation has ended."""
        device = backend.open().devices[0]
        driver.fail(function, code=code)

        with pytest.raises(GenerationEnded):
            device.read()

    def test_after_a_reload_a_new_one_begins(self, driver: FakeDriver, backend: NvmlBackend):
        """Old devices say that their generation ended; after close and open the new ones read from 0."""
        old = backend.open().devices[0]
        driver.advance(50.0)
        old.read()
        driver.reload_driver()
        with pytest.raises(GenerationEnded):
            old.read()
        backend.close()
        new = backend.open().devices[0]
        driver.advance(2.0)

        assert 200.0 == new.read().energy_joules

    def test_ends_when_no_gpu_is_known_any_more(self, driver: FakeDriver, backend: NvmlBackend):
        """One unknown GPU is lost; when all are unknown the driver is another one."""
        devices = backend.open().devices
        driver.fail("nvmlDeviceGetFieldValues", code=28)
        states = []
        for device in devices:
            try:
                device.read()
            except Exception as failure:  # noqa: BLE001 - the test is about which
                states.append(type(failure).__name__)

        assert ["GpuMissing", "GpuMissing", "GenerationEnded"] == states

    def test_a_gpu_that_is_known_again_holds_the_generation(self, driver: FakeDriver, backend: NvmlBackend):
        """Only GPUs that are unknown at the same time end a generation."""
        devices = backend.open().devices
        for device in devices:
            unknown = driver.fail("nvmlDeviceGetFieldValues", device.info.index, code=28)
            with pytest.raises(Exception, match="gpu_not_found"):
                device.read()
            unknown.release()
            device.read()

        assert 100.0 == devices[0].read().power_watts

    def test_what_a_gpu_does_not_give_is_asked_anew(self, driver: FakeDriver, backend: NvmlBackend):
        """A new driver may give what the old one did not."""
        absent = driver.fail("nvmlDeviceGetUtilizationRates", code=3)
        first = backend.open().devices[0]

        assert None is first.read().utilization_ratio

        absent.release()
        second = backend.open().devices[0]

        assert 0.0 == second.read().utilization_ratio

    def test_opening_again_leaves_one_user(self, driver: FakeDriver, backend: NvmlBackend):
        """However often it is opened, closing it once gives the driver back."""
        backend.open()
        backend.open()
        backend.close()
        backend.close()

        assert driver.calls("nvmlInitWithFlags") == driver.calls("nvmlShutdown")
        with pytest.raises(pynvml.NVMLError):
            pynvml.nvmlDeviceGetCount()
