"""What the NVML backend reads of a GPU each second, and what each driver code makes of it."""

import threading
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest
from support.fakenvml import Constant, FakeDriver, Square

from perwatt_agent.backend import GenerationEnded, GpuFailure
from perwatt_agent.clock import ManualClock
from perwatt_agent.nvml import NvmlBackend, errors
from perwatt_agent.nvml.device import NvmlDevice
from perwatt_agent.snapshot import GpuReading

Open = Callable[..., tuple[FakeDriver, list[NvmlDevice]]]

# Facts of a reading -> the entry point that gives them.
SECONDARY = {
    "utilization_ratio": "nvmlDeviceGetUtilizationRates",
    "clock_sm_hertz": "nvmlDeviceGetClockInfo",
    "clock_memory_hertz": "nvmlDeviceGetClockInfo",
    "temperature_memory_celsius": "field:82",
    "energy_joules": "field:83",
    "power_watts": "field:185",
}
# Return codes -> the outcome, whichever call answers so; and of the others, the outcome when the batch does.
EVERYWHERE = {code: [GenerationEnded] * 3 for code in (1, 9, 18)} | {
    code: ["lost"] * 3 for code in (15, 16, 28)
}
WHOLE_BATCH = dict.fromkeys((3, 13, 25, 26), GpuReading)
TRANSIENT = [10, 11, 14, 19, 20, 21, 27, 29, 999, 777]


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    """Open a backend over a fake driver of some architecture."""
    backend, drivers = NvmlBackend(clock), []

    def open_one(architecture: str = "hopper", gpus: int = 2) -> tuple[FakeDriver, list[NvmlDevice]]:
        driver = FakeDriver.create(tmp_path, gpus=gpus, architecture=architecture).install()
        drivers.append(driver)
        driver.advance(10.0)
        return driver, list(backend.open().devices)

    yield open_one
    for driver in drivers:
        driver.release()
    backend.close()
    for driver in drivers:
        driver.close()


class TestReading:
    def test_is_in_base_units(self, opened: Open, clock: ManualClock):
        """Every fact of a healthy GPU, in base units."""
        driver, devices = opened()
        driver.set(1, utilization_percent=87, memory_used_bytes=1 << 34, clock_mhz=(1500, 1400, 2619))
        driver.set_waveform(1, Constant(612.345))
        driver.advance(2.0)

        assert devices[1].read() == GpuReading(
            monotonic_seconds=clock.monotonic(),
            energy_joules=1000 + 1224.69,
            energy_source="counter",
            power_watts=612.345,
            power_is_mean=True,
            utilization_ratio=0.87,
            memory_used_bytes=1 << 34,
            memory_reserved_bytes=80 * (1 << 30) // 128,
            memory_total_bytes=80 << 30,
            temperature_core_celsius=41.0,
            temperature_memory_celsius=52.0,
            clock_sm_hertz=1.4e9,
            clock_memory_hertz=2.619e9,
        )

    @pytest.mark.parametrize(
        ("architecture", "mean"),
        [
            ("hopper", True),
            ("ada", True),
            ("ampere", True),
            ("ga100", False),
            ("turing", False),
            ("volta", False),
        ],
    )
    @pytest.mark.parametrize("driver_has_power_fields", [True, False])
    def test_tells_a_mean_from_an_instant(
        self, opened: Open, architecture: str, mean: bool, driver_has_power_fields: bool
    ):
        """Power is a mean of one second on Ampere (but GA100) and newer, also with old drivers."""
        driver, devices = opened(architecture)
        if not driver_has_power_fields:
            driver.fail("field:185", code=2)
            driver.fail("field:186", code=2)
        driver.set_waveform(0, Square(50.0, 70.0, period_seconds=4.0, duty=0.5))
        driver.advance(2.5)
        reading = devices[0].read()

        assert mean is reading.power_is_mean
        assert (60.0 if mean else 50.0) == reading.power_watts
        assert (1 if not driver_has_power_fields else 0) == driver.calls("nvmlDeviceGetPowerUsage")

    def test_the_module_answers_for_a_gpu_that_does_not(self, opened: Open):
        """Grace Hopper gives energy and power of the module: it is labelled so, both in the same scope."""
        driver, devices = opened("gh200")
        reading = devices[0].read()

        assert ("module", 2200.0, 220.0) == (
            reading.energy_source,
            reading.energy_joules,
            reading.power_watts,
        )

        driver.fail("field:191", 0, code=999, times=1)

        assert None is devices[0].read().energy_joules

    def test_the_module_is_not_taken_while_the_gpu_merely_fails(self, opened: Open):
        """A counter never changes what it counts because of one bad second."""
        driver, devices = opened()
        driver.set(0, has_module_scope=1, module_extra_watts=120.0)
        driver.fail("field:83", 0, code=999, times=1)

        assert [(None, "counter"), (1000.0, "counter")] == [
            (reading.energy_joules, reading.energy_source)
            for reading in (devices[0].read(), devices[0].read())
        ]

    def test_a_board_without_a_counter_has_power(self, opened: Open):
        """Before Volta there is no energy, and that is absent, not 0."""
        _, devices = opened("pascal")
        reading = devices[0].read()

        assert (None, 100.0, False) == (reading.energy_joules, reading.power_watts, reading.power_is_mean)

    def test_counter_is_the_exact_integral(self, opened: Open, clock: ManualClock):
        """Over ten minutes of bursts, read each second, the counter is the integral at its refresh."""
        driver, devices = opened()
        driver.set_waveform(0, Square(90.0, 650.0, period_seconds=0.1, duty=0.33))
        driver.set_waveform(1, Square(90.0, 650.0, period_seconds=15.0, duty=0.2, phase_seconds=4.0))
        for _ in range(600):
            driver.advance(1.0)
            clock.advance(1.0)
            for gpu, device in enumerate(devices):
                exact = driver.exact_energy_joules(gpu, 0.0, driver.now)

                assert exact == pytest.approx(device.read().energy_joules, abs=0.0011)

    def test_is_stamped_when_energy_was_read(self, opened: Open, clock: ManualClock):
        """The stamp belongs to the batch: what is read after it, however slow, does not move it."""
        driver, devices = opened()
        devices[0].read()
        hang = driver.hang("nvmlDeviceGetUtilizationRates", 0)
        readings: list[GpuReading] = []
        thread = threading.Thread(target=lambda: readings.append(devices[0].read()), daemon=True)
        thread.start()
        hang.wait_until_hanging()
        clock.advance(30.0)
        hang.release()
        thread.join(timeout=60)

        assert [clock.monotonic() - 30.0] == [reading.monotonic_seconds for reading in readings]

    def test_a_hanging_gpu_holds_no_other(self, opened: Open):
        """While one GPU's call never returns, the next GPU is read as ever."""
        driver, devices = opened()
        hang = driver.hang("nvmlDeviceGetFieldValues", 0)
        thread = threading.Thread(target=devices[0].read, daemon=True)
        thread.start()
        hang.wait_until_hanging()

        assert 100.0 == devices[1].read().power_watts
        assert thread.is_alive()

        hang.release()
        thread.join(timeout=60)

        assert not thread.is_alive()


class TestCalls:
    @pytest.mark.parametrize("architecture", ["hopper", "gh200", "ada", "ga100", "volta", "pascal"])
    def test_six_a_read(self, opened: Open, architecture: str):
        """The driver is asked six times a GPU a second, from the second read on."""
        driver, devices = opened(architecture)
        devices[0].read()
        before = driver.calls_by_function(gpu=0)
        for _ in range(10):
            devices[0].read()
        after = driver.calls_by_function(gpu=0)

        assert {
            "nvmlDeviceGetFieldValues": 10,
            "nvmlDeviceGetUtilizationRates": 10,
            "nvmlDeviceGetMemoryInfo_v2": 10,
            "nvmlDeviceGetClockInfo": 20,
            "nvmlDeviceGetTemperatureV": 10,
        } == {name: after[name] - before[name] for name in after if after[name] != before[name]}

    @pytest.mark.parametrize("code", [2, 3, 13, 25, 26])
    @pytest.mark.parametrize(
        ("fact", "function"),
        [
            ("utilization_ratio", "nvmlDeviceGetUtilizationRates"),
            ("memory_used_bytes", "nvmlDeviceGetMemoryInfo_v2"),
            ("clock_sm_hertz", "nvmlDeviceGetClockInfo"),
        ],
    )
    def test_what_is_not_given_is_asked_once(self, opened: Open, fact: str, function: str, code: int):
        """What a GPU does not give is absent, and is not asked for again in this generation."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetMemoryInfo", 0, code)
        driver.fail(function, 0, code)
        readings = [devices[0].read() for _ in range(5)]

        assert [None] * 5 == [getattr(reading, fact) for reading in readings]
        assert driver.calls(function, gpu=0) == (2 if function == "nvmlDeviceGetClockInfo" else 1)
        assert None is not getattr(devices[1].read(), fact)

    def test_a_field_that_is_not_given_leaves_the_batch(self, opened: Open):
        """A numbered field is left out once the GPU refused it; the rest of the batch stays."""
        driver, devices = opened()
        refused = driver.fail("field:82", 0, code=3)
        devices[0].read()
        refused.release()

        assert None is devices[0].read().temperature_memory_celsius
        assert 100.0 == devices[0].read().power_watts

    def test_a_permission_is_asked_for_again_slowly(
        self, opened: Open, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ):
        """What is not permitted may be permitted later: one log line, and one more call a minute."""
        driver, devices = opened()
        forbidden = driver.fail("nvmlDeviceGetUtilizationRates", 0, code=4)
        for _ in range(119):
            devices[0].read()
            clock.advance(1.0)

        assert 2 == driver.calls("nvmlDeviceGetUtilizationRates", gpu=0)
        assert 1 == len(caplog.records)

        forbidden.release()
        clock.advance(60.0)

        assert 0.0 == devices[0].read().utilization_ratio


class TestOlderDrivers:
    @pytest.mark.parametrize("code", [3, 13])
    def test_without_fields_single_calls_serve(self, opened: Open, code: int):
        """A driver without the batch gives energy and power by calls of their own, seven in all."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetFieldValues", code=code)
        devices[0].read()
        before = driver.calls(gpu=0)
        reading = devices[0].read()

        assert (1000.0, 100.0, True) == (reading.energy_joules, reading.power_watts, reading.power_is_mean)
        assert 7 == driver.calls(gpu=0) - before
        assert 1 == driver.calls("nvmlDeviceGetFieldValues")

    def test_without_fields_the_power_call_tells_that_a_gpu_fails(self, opened: Open):
        """The one call that every GPU answers takes the batch's place."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetFieldValues", code=13)
        driver.fail("nvmlDeviceGetPowerUsage", code=999)

        with pytest.raises(GpuFailure) as raised:
            devices[0].read()

        assert ("error", "unknown") == (raised.value.state, raised.value.reason)

    def test_the_first_memory_call_counts_what_is_reserved(self, opened: Open):
        """Its `used` includes what the driver reserves, so reserved is absent."""
        driver, devices = opened()
        driver.set(0, memory_used_bytes=1000)
        driver.fail("nvmlDeviceGetMemoryInfo_v2", code=13)
        reading = devices[0].read()

        assert (1000 + 80 * (1 << 30) // 128, None) == (
            reading.memory_used_bytes,
            reading.memory_reserved_bytes,
        )

    def test_the_old_temperature_call_serves(self, opened: Open):
        """Drivers before TemperatureV have GetTemperature."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetTemperatureV", code=13)
        readings = [devices[0].read() for _ in range(3)]

        assert [41.0] * 3 == [reading.temperature_core_celsius for reading in readings]
        assert 1 == driver.calls("nvmlDeviceGetTemperatureV")


class TestSentinels:
    @pytest.mark.parametrize(
        ("settings", "fact"),
        [
            pytest.param(
                {"temperature_core_celsius": 0x80000000}, "temperature_core_celsius", id="2^31 degrees"
            ),
            pytest.param(
                {"temperature_core_celsius": 0xFFFFFFFF}, "temperature_core_celsius", id="not available"
            ),
            pytest.param(
                {"temperature_memory_celsius": 0xFFFFFFFF}, "temperature_memory_celsius", id="no sensor"
            ),
            pytest.param(
                {"temperature_memory_celsius": 0}, "temperature_memory_celsius", id="no memory sensor"
            ),
            pytest.param({"utilization_percent": 0xFFFFFFFF}, "utilization_ratio", id="load"),
            pytest.param({"utilization_percent": 101}, "utilization_ratio", id="more than all"),
            pytest.param({"clock_mhz": (0, 0xFFFFFFFF, 0)}, "clock_sm_hertz", id="clock"),
            pytest.param({"memory_total_bytes": 2**64 - 1}, "memory_total_bytes", id="memory"),
            pytest.param(
                {"memory_used_bytes": 2**64 - 1}, "memory_used_bytes", id="more memory than there is"
            ),
            pytest.param({"energy_offset_joules": 1.8446744073709552e16}, "energy_joules", id="energy"),
        ],
    )
    def test_never_become_numbers(self, opened: Open, settings: dict[str, object], fact: str):
        """A value that means "unknown" is absent."""
        driver, devices = opened()
        driver.set(0, **settings)

        assert None is getattr(devices[0].read(), fact)
        assert None is not getattr(devices[1].read(), fact)

    def test_power_that_no_board_draws_is_absent(self, opened: Open):
        """4.29 megawatts is how a driver says that it does not know."""
        driver, devices = opened()
        driver.set_waveform(0, Constant(4_294_967.295))
        driver.advance(2.0)

        assert None is devices[0].read().power_watts


class TestFailures:
    @pytest.mark.parametrize("code", TRANSIENT)
    @pytest.mark.parametrize("fact", SECONDARY)
    def test_one_fact_fails_alone(self, opened: Open, fact: str, code: int):
        """A passing failure of one fact costs that fact in that reading and nothing else."""
        driver, devices = opened()
        before = devices[0].read()
        driver.fail(SECONDARY[fact], 0, code, times=1 if fact != "clock_memory_hertz" else 2)
        during, after = devices[0].read(), devices[0].read()
        lost = {name for name in before.__struct_fields__ if getattr(during, name) != getattr(before, name)}

        assert {fact} | ({"clock_sm_hertz"} if fact == "clock_memory_hertz" else set()) == lost
        assert None is getattr(during, fact)
        assert before == after

    @pytest.mark.parametrize("code", [2, 4, *TRANSIENT])
    def test_a_failed_batch_is_a_failed_gpu(self, opened: Open, code: int):
        """Without the batch there is no reading; the next read finds the GPU anew."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetFieldValues", 0, code, times=1)
        with pytest.raises(GpuFailure, match=f"code {code}") as raised:
            devices[0].read()

        assert ("error", errors.describe(code).word) == (raised.value.state, raised.value.reason)
        assert 100.0 == devices[1].read().power_watts
        assert 100.0 == devices[0].read().power_watts
        assert 1 == driver.calls("nvmlDeviceGetHandleByUUID", gpu=0)

    def test_a_batch_in_which_every_field_failed_is_a_failed_gpu(self, opened: Open):
        """A call that succeeds and brings nothing brings no reading."""
        driver, devices = opened()
        for field in (82, 83, 185, 186, 191):
            driver.fail(f"field:{field}", 0, 999)

        with pytest.raises(GpuFailure) as raised:
            devices[0].read()

        assert ("error", "unknown") == (raised.value.state, raised.value.reason)

    @pytest.mark.parametrize("code", [15, 16, 28])
    @pytest.mark.parametrize(
        "function", ["nvmlDeviceGetFieldValues", "field:83", "nvmlDeviceGetTemperatureV", "*"]
    )
    def test_a_lost_gpu(self, opened: Open, function: str, code: int):
        """Whichever call says that a GPU is lost, that one is lost, the other is not; it may come back."""
        driver, devices = opened()
        lost = driver.fail(function, 0, code)
        with pytest.raises(GpuFailure) as raised:
            devices[0].read()

        assert ("lost", errors.describe(code).word) == (raised.value.state, raised.value.reason)
        assert 100.0 == devices[1].read().power_watts

        lost.release()

        assert 100.0 == devices[0].read().power_watts

    @pytest.mark.parametrize("code", [2, 6, 28])
    def test_a_gpu_that_is_not_found_again_is_lost(self, opened: Open, code: int):
        """A GPU that the driver does not know by its UUID any more is lost."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetFieldValues", 0, 15)
        driver.fail("nvmlDeviceGetHandleByUUID", 0, code)
        states = []
        for _ in range(3):
            with pytest.raises(GpuFailure) as raised:
                devices[0].read()
            states.append((raised.value.state, raised.value.reason))

        assert [("lost", "gpu_is_lost"), ("lost", "gpu_not_found"), ("lost", "gpu_not_found")] == states
        assert 100.0 == devices[1].read().power_watts

    def test_a_lost_gpu_costs_one_call_a_read(self, opened: Open):
        """A GPU that is gone is looked for by its UUID, and nothing more."""
        driver, devices = opened()
        driver.lose(0)
        before = driver.calls(gpu=0)
        for _ in range(11):
            with pytest.raises(GpuFailure):
                devices[0].read()

        assert 11 == driver.calls(gpu=0) - before

    @pytest.mark.parametrize("code", [*range(1, 40), 500, 777, 999])
    def test_every_code_has_one_outcome(self, opened: Open, code: int):
        """Whatever a driver answers, known or not: a reading, a failed GPU, or the generation's end."""
        outcomes = []
        for function in ("nvmlDeviceGetFieldValues", "field:185", "nvmlDeviceGetClockInfo"):
            driver, devices = opened()
            driver.fail(function, 0, code)
            try:
                outcomes.append(type(devices[0].read()))
            except (GpuFailure, GenerationEnded) as raised:
                outcomes.append(getattr(raised, "state", GenerationEnded))

        assert EVERYWHERE.get(code, [WHOLE_BATCH.get(code, "error"), GpuReading, GpuReading]) == outcomes

    def test_nothing_is_logged_by_a_read(self, opened: Open, caplog: pytest.LogCaptureFixture):
        """The sampler logs failures, once; a device that logs each second would fill a disk."""
        driver, devices = opened()
        driver.lose(0)
        for _ in range(5):
            with pytest.raises(GpuFailure):
                devices[0].read()

        assert [] == caplog.records


def test_codes_are_those_of_the_binding():
    """The table lists every return code of the binding that a read can meet, under its number."""
    unlisted = {"SUCCESS", "ALREADY_INITIALIZED", "INSUFFICIENT_SIZE", "INSUFFICIENT_POWER"}
    unlisted |= {"VGPU_ECC_NOT_SUPPORTED", "FREQ_NOT_SUPPORTED", "RESET_TYPE_NOT_SUPPORTED"}
    prefix = "NVML_ERROR_"
    binding = {
        getattr(pynvml, name): name.removeprefix(prefix)
        for name in dir(pynvml)
        if name.startswith(prefix) and isinstance(getattr(pynvml, name), int)
    }

    assert {code for code, name in binding.items() if name not in unlisted} - set(errors.CODES) == set()
    assert set(errors.CODES) <= set(binding)
