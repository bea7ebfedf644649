"""The fake driver itself: what it shows of its waveforms, and what can be done to it."""

import ctypes
import math
import subprocess
import sys
import threading
import time
from pathlib import Path

import pynvml
import pytest
from fakenvml import build, layout
from support.gpus.fakenvml import Constant, FakeDriver, Ramp, Sine, Square, Waveform

LOST, UNKNOWN_TO_THE_BINDING = 15, 777
BURSTS = Square(90.0, 650.0, period_seconds=0.1, duty=0.33)


@pytest.fixture
def driver(tmp_path: Path):
    with FakeDriver.create(tmp_path, gpus=4).install() as driver:
        pynvml.nvmlInit()
        yield driver


def handle(gpu: int = 0):
    return pynvml.nvmlDeviceGetHandleByIndex(gpu)


def counter_joules(gpu: int = 0) -> float:
    return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle(gpu)) / 1000


def code_of(call, *arguments) -> int:
    try:
        call(*arguments)
    except pynvml.NVMLError as error:
        return error.value
    return 0


class TestBuild:
    @pytest.mark.slow
    def test_agrees_with_nvidias_header(self, tmp_path: Path):
        """Every signature and struct agrees with NVIDIA's own nvml.h, with warnings as errors."""
        output = tmp_path / build.SONAME

        build.compile_library(output, build.header_directory())

        assert output.exists()

    @pytest.mark.slow
    def test_a_signature_that_disagrees_does_not_compile(self, tmp_path: Path):
        """The header is really what the sources are checked against."""
        (tmp_path / "nvml.h").write_text(
            (build.header_directory() / "nvml.h")
            .read_text()
            .replace(
                "nvmlDeviceGetIndex(nvmlDevice_t device, unsigned int *",
                "nvmlDeviceGetIndex(nvmlDevice_t device, long *",
            )
        )

        with pytest.raises(RuntimeError, match="nvmlDeviceGetIndex"):
            build.compile_library(tmp_path / build.SONAME, tmp_path)

    def test_is_built_once(self):
        """The library is rebuilt only when a source or the header changes."""
        built = build.library()
        made = built.stat().st_mtime_ns

        assert built == build.library()
        assert made == build.library().stat().st_mtime_ns

    def test_layout_is_that_of_the_header(self):
        """The control block in Python has the size of the one in C."""
        loaded = ctypes.CDLL(str(build.library()))
        loaded.fakenvml_control_size.restype = ctypes.c_ulong

        assert loaded.fakenvml_control_size() == ctypes.sizeof(layout.Control)


WAVEFORMS = [
    pytest.param(Constant(312.5), id="constant"),
    pytest.param(BURSTS, id="bursts of 33 ms"),
    pytest.param(Square(100.0, 700.0, period_seconds=15.0, duty=0.2, phase_seconds=14.0), id="bursts of 3 s"),
    pytest.param(Ramp(100.0, 700.0, duration_seconds=10.0), id="ramp"),
    pytest.param(Sine(400.0, 250.0, period_seconds=7.0, phase_seconds=1.0), id="sine"),
]


class TestEnergy:
    @pytest.mark.parametrize("waveform", WAVEFORMS)
    def test_formulas_are_the_integral(self, waveform: Waveform):
        """The exact energy is what summing many short steps converges to."""
        step, steps = 0.001, 20_000
        power = [(waveform.joules((i + 1) * step) - waveform.joules(i * step)) / step for i in range(steps)]
        shown = {round(watts) for watts in power}

        assert math.fsum(power) * step == pytest.approx(waveform.joules(steps * step), rel=1e-9)
        assert all(90 <= watts <= 700 for watts in shown)

    @pytest.mark.parametrize("waveform", WAVEFORMS)
    def test_counter_is_the_exact_integral(self, driver: FakeDriver, waveform: Waveform):
        """At every refresh the counter is the integral since the driver was loaded, to the millijoule."""
        driver.advance(2.5)
        driver.set_waveform(0, waveform)
        for _ in range(50):
            driver.advance(1.3)
            refresh = math.floor(driver.now * 10 + 1e-6) / 10

            assert driver.exact_energy_joules(0, 0.0, refresh) == pytest.approx(counter_joules(), abs=0.0011)

    def test_counter_moves_at_the_refresh(self, driver: FakeDriver):
        """Between two refreshes the counter stands still."""
        driver.advance(10.0)
        at_refresh = counter_joules()
        driver.advance(0.099)

        assert at_refresh == counter_joules()

        driver.advance(0.001)

        assert at_refresh + 10.0 == counter_joules()

    def test_steps_follow_each_other(self, driver: FakeDriver):
        """A list of steps is drawn one after the other, and a new waveform replaces those to come."""
        driver.set_steps(1, [(0, 100.0), (1, 200.0), (2, 400.0), (3, 0.0)])
        driver.advance(2.5)
        driver.set_waveform(1, Constant(10.0))
        driver.advance(10.0)

        assert 100 + 200 + 200 + 100 == counter_joules(1)
        assert 600.0 == driver.exact_energy_joules(1, 0.0, 12.5)

    def test_leaps_falls_glitches_and_resets(self, driver: FakeDriver):
        """What a bad board does to its counter can be done to it."""
        driver.advance(10.0)
        driver.shift_energy(0, 5000.0)

        assert 6000.0 == counter_joules()

        driver.shift_energy(0, -5500.0)

        assert 500.0 == counter_joules()

        driver.glitch_energy(0, -200.0, reads=2)

        assert [300.0, 300.0, 500.0] == [counter_joules() for _ in range(3)]

        driver.reset_energy(0)
        driver.advance(1.0)

        assert 100.0 == counter_joules()
        assert 1100.0 == counter_joules(1)


class TestSensors:
    @pytest.mark.parametrize(
        ("architecture", "usage", "average", "instant"),
        [
            pytest.param("hopper", 1.0, 1.0, 0.025, id="hopper"),
            pytest.param("ada", 1.0, 1.0, 0.1, id="ada"),
            pytest.param("ampere", 1.0, 1.0, 0.1, id="ampere"),
            pytest.param("ga100", 0.025, None, 0.025, id="ga100"),
            pytest.param("turing", 0.1, None, 0.1, id="turing"),
            pytest.param("volta", 0.01, None, 0.01, id="volta"),
        ],
    )
    def test_windows(
        self, tmp_path: Path, architecture: str, usage: float, average: float | None, instant: float
    ):
        """A power reading is the mean over the window that this architecture's sensor looks at."""
        with FakeDriver.create(tmp_path, architecture=architecture).install() as driver:
            pynvml.nvmlInit()
            driver.set_waveform(0, Square(80.0, 400.0, period_seconds=0.37, duty=0.4))
            driver.advance(20.0)
            reply = pynvml.nvmlDeviceGetFieldValues(handle(), [185, 186])

            def mean(window: float) -> float:
                return driver.exact_energy_joules(0, 20.0 - window, 20.0) / window

            assert mean(usage) * 1000 == pytest.approx(pynvml.nvmlDeviceGetPowerUsage(handle()), abs=1)
            assert mean(instant) * 1000 == pytest.approx(reply[1].value.uiVal, abs=1)
            assert (0 if average else 3) == reply[0].nvmlReturn
            if average:
                assert mean(average) * 1000 == pytest.approx(reply[0].value.uiVal, abs=1)

    def test_grace_hopper_answers_for_the_module(self, tmp_path: Path):
        """GH200 refuses the scope of the GPU and gives that of the module, which holds the CPU too."""
        with FakeDriver.create(tmp_path, architecture="gh200").install() as driver:
            pynvml.nvmlInit()
            driver.advance(10.0)
            gpu, module = pynvml.nvmlDeviceGetFieldValues(handle(), [(191, 0), (191, 1)])

            assert 3 == gpu.nvmlReturn
            assert 2_200_000 == module.value.ullVal

    def test_pascal_has_no_counter(self, tmp_path: Path):
        """Boards before Volta count no energy."""
        with FakeDriver.create(tmp_path, architecture="pascal").install():
            pynvml.nvmlInit()

            assert 3 == code_of(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle())


class TestInjection:
    @pytest.mark.parametrize("code", [2, 4, LOST, 999, UNKNOWN_TO_THE_BINDING])
    def test_any_code(self, driver: FakeDriver, code: int):
        """A function returns what it is told to, for one GPU, until it is released."""
        injection = driver.fail("nvmlDeviceGetName", 1, code)

        assert [0, code] == [code_of(pynvml.nvmlDeviceGetName, handle(gpu)) for gpu in (0, 1)]

        injection.release()

        assert 0 == code_of(pynvml.nvmlDeviceGetName, handle(1))

    def test_a_number_of_times(self, driver: FakeDriver):
        """A failure can be limited to some calls."""
        driver.fail("nvmlDeviceGetName", code=999, times=2)

        assert [999, 999, 0] == [code_of(pynvml.nvmlDeviceGetName, handle()) for _ in range(3)]

    def test_one_field_of_a_batch(self, driver: FakeDriver):
        """A single field can fail while its neighbours are given."""
        driver.fail("field:185", 0, 999)
        reply = pynvml.nvmlDeviceGetFieldValues(handle(), [185, 186])

        assert [999, 0] == [field.nvmlReturn for field in reply]

    def test_a_lost_gpu_fails_in_every_call(self, driver: FakeDriver):
        """A GPU off the bus answers nothing, its neighbours go on."""
        device = handle(2)
        driver.lose(2)

        assert LOST == code_of(pynvml.nvmlDeviceGetUtilizationRates, device)
        assert LOST == code_of(handle, 2)
        assert 0 == code_of(pynvml.nvmlDeviceGetUtilizationRates, handle(1))

    def test_a_hang_ends_when_it_is_released(self, driver: FakeDriver):
        """A hanging call holds its own thread only, and returns once it is released."""
        hang = driver.hang("nvmlDeviceGetTotalEnergyConsumption", 3)
        thread = threading.Thread(target=counter_joules, args=(3,), daemon=True)
        thread.start()
        hang.wait_until_hanging()

        assert 0 == code_of(counter_joules, 0)
        assert thread.is_alive()

        hang.release()
        thread.join(timeout=60)

        assert not thread.is_alive()

    def test_latency_is_real_time(self, driver: FakeDriver):
        """A slow call takes at least what it was told to."""
        driver.latency("nvmlDeviceGetName", 0.05, gpu=0)
        device = handle()
        begun = time.monotonic()
        pynvml.nvmlDeviceGetName(device)

        assert time.monotonic() - begun >= 0.05


class TestDriver:
    def test_reload_voids_everything(self, driver: FakeDriver):
        """After a reload all calls fail until a new start; old handles stay void, counters begin at 0."""
        before = handle()
        driver.advance(100.0)
        driver.reload_driver()

        assert 1 == code_of(pynvml.nvmlDeviceGetCount)
        assert 1 == code_of(pynvml.nvmlDeviceGetName, before)

        pynvml.nvmlInit()

        assert 2 == code_of(pynvml.nvmlDeviceGetName, before)
        assert 0.0 == counter_joules()

    def test_a_driver_may_appear_later(self, tmp_path: Path):
        """Starting fails as long as it is told to."""
        with FakeDriver.create(tmp_path).install() as driver:
            missing = driver.fail("nvmlInitWithFlags", code=9)

            assert 9 == code_of(pynvml.nvmlInit)

            missing.release()

            assert 0 == code_of(pynvml.nvmlInit)

    def test_the_number_of_gpus_may_change(self, driver: FakeDriver):
        """GPUs come and go."""
        driver.set_gpu_count(2)

        assert 2 == pynvml.nvmlDeviceGetCount()
        assert 6 == code_of(pynvml.nvmlDeviceGetHandleByUUID, driver.uuid(3))

    def test_calls_are_counted(self, driver: FakeDriver):
        """Every call is counted by its function and GPU, failed ones too."""
        driver.fail("nvmlDeviceGetName", 1, 999)
        for gpu in (0, 1, 1):
            code_of(pynvml.nvmlDeviceGetName, handle(gpu))

        assert 3 == driver.calls("nvmlDeviceGetName")
        assert 2 == driver.calls("nvmlDeviceGetName", gpu=1)
        assert {"nvmlDeviceGetHandleByIndex_v2": 1, "nvmlDeviceGetName": 1} == driver.calls_by_function(gpu=0)

    def test_real_time_runs_by_itself(self, tmp_path: Path):
        """Without a hand on the clock the counter follows the machine's."""
        with FakeDriver.create(tmp_path, real_time=True).install() as driver:
            pynvml.nvmlInit()
            deadline = time.monotonic() + 60
            while counter_joules() < 20.0 and time.monotonic() < deadline:
                time.sleep(0.01)

            assert 20.0 <= counter_joules() <= driver.exact_energy_joules(0, 0.0, driver.now)

    def test_a_subprocess_shares_it(self, tmp_path: Path):
        """A process that runs with its environment reads the same driver, and is counted here."""
        driver = FakeDriver.create(tmp_path, gpus=3)
        driver.advance(60.0)
        program = (
            "import pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(2);"
            "print(n.nvmlDeviceGetCount(), n.nvmlDeviceGetTotalEnergyConsumption(h))"
        )
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, env=driver.environment(), capture_output=True, text=True, check=True)

        assert "3 6000000\n" == result.stdout
        assert 1 == driver.calls("nvmlDeviceGetTotalEnergyConsumption", gpu=2)
