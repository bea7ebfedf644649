"""What the NVML backend reads of a GPU each second, and in how many calls."""

import threading
from pathlib import Path

import pytest
from support.gpus.fakenvml import Constant, Square
from support.gpus.nvml import Open, opening

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.backend import GpuFailure

FIELDS = (82, 83, 185, 186, 191)
MIB = 1 << 20
REASONS: tuple[str, ...] = (
    "sw_power_cap",
    "thermal",
    "sync_boost",
    "board_limit",
    "low_utilization",
    "reliability",
)
REASONS += ("sw_thermal", "hw_thermal", "hw_power_brake")


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    with opening(tmp_path, clock) as opened:
        yield opened


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
            memory_utilization_ratio=0.0,
            memory_used_bytes=1 << 34,
            memory_reserved_bytes=479 * MIB,
            memory_total_bytes=81_559 * MIB,
            temperature_core_celsius=41.0,
            temperature_memory_celsius=48.0,
            clock_sm_hertz=1.4e9,
            throttled_seconds=dict.fromkeys(REASONS, 0.0),
            pcie_transmitted_bytes=0,
            pcie_received_bytes=0,
            pcie_replays=0,
            nvlink_transmitted_bytes=12 * 87 * 18 * MIB,
            nvlink_received_bytes=12 * 87 * 18 * MIB,
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

    @pytest.mark.parametrize("late", [False, True])
    def test_power_is_of_the_scope_of_energy(self, opened: Open, late: bool):
        """Where energy is the module's, so is power, whenever that turns out: they are compared."""
        driver, devices = opened()
        driver.set(0, has_module_scope=1, module_extra_watts=120.0)
        if late:
            driver.fail("field:83", 0, code=999, times=1)
            devices[0].read()
        driver.fail("field:83", 0, code=3)
        reading = devices[0].read()

        assert ("module", 2200.0, 220.0) == (
            reading.energy_source,
            reading.energy_joules,
            reading.power_watts,
        )

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


class TestFieldThatFails:
    def test_of_a_lost_gpu(self, opened: Open):
        """A field may report a lost GPU by a return code of its own, in a call that succeeds."""
        driver, devices = opened()
        devices[0].read()
        driver.fail("field:83", 0, code=15)
        with pytest.raises(GpuFailure) as failure:
            devices[0].read()

        assert "lost" == failure.value.state


class TestCalls:
    @pytest.mark.parametrize("architecture", ["hopper", "gh200", "ada", "ga100", "volta", "pascal"])
    def test_five_a_read(self, opened: Open, clock: ManualClock, architecture: str):
        """The driver is asked five times a GPU a second, and twice in five seconds for its monitor's sake."""
        driver, devices = opened(architecture)
        for _ in range(2):
            devices[0].read()
            clock.advance(1.0)
        before = driver.calls_by_function(gpu=0)
        for _ in range(10):
            clock.advance(1.0)
            devices[0].read()
        after = driver.calls_by_function(gpu=0)
        monitor = {"nvmlGpmSampleGet": 2, "nvmlGpmMetricsGet": 2}

        assert (monitor if architecture in ("hopper", "gh200") else {}) | {
            "nvmlDeviceGetFieldValues": 10,
            "nvmlDeviceGetUtilizationRates": 10,
            "nvmlDeviceGetMemoryInfo_v2": 10,
            "nvmlDeviceGetClockInfo": 10,
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
        assert 1 == driver.calls(function, gpu=0)
        assert None is not getattr(devices[1].read(), fact)

    def test_a_field_that_is_not_given_leaves_the_batch(self, opened: Open):
        """A numbered field is left out once the GPU refused it; the rest of the batch stays."""
        driver, devices = opened()
        refused = driver.fail("field:82", 0, code=3)
        devices[0].read()
        refused.release()

        assert None is devices[0].read().temperature_memory_celsius
        assert 100.0 == devices[0].read().power_watts

    @pytest.mark.parametrize(
        ("architecture", "fields"),
        [
            pytest.param("hopper", {82, 83, 185}, id="hopper"),
            pytest.param("gh200", {82, 191, 185}, id="gh200"),
            pytest.param("ga100", {82, 83, 186}, id="ga100"),
            pytest.param("pascal", {186}, id="pascal"),
        ],
    )
    def test_the_batch_shrinks_to_what_is_given(self, opened: Open, architecture: str, fields: set[int]):
        """After the first read each fact is asked for by one field, and only where the GPU gives it."""
        driver, devices = opened(architecture)
        devices[0].read()
        before = {field: driver.calls(f"field:{field}") for field in FIELDS}
        devices[0].read()

        assert dict.fromkeys(fields, 1) == {
            field: driver.calls(f"field:{field}") - before[field]
            for field in FIELDS
            if driver.calls(f"field:{field}") != before[field]
        }

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
        """A driver without the batch gives energy and power by calls of their own, six in all."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetFieldValues", code=code)
        devices[0].read()
        before = driver.calls(gpu=0)
        reading = devices[0].read()

        assert (1000.0, 100.0, True) == (reading.energy_joules, reading.power_watts, reading.power_is_mean)
        assert 6 == driver.calls(gpu=0) - before
        assert 1 == driver.calls("nvmlDeviceGetFieldValues")

    def test_without_fields_the_power_call_tells_that_a_gpu_fails(self, opened: Open):
        """The one call that every GPU answers takes the batch's place."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetFieldValues", code=13)
        driver.fail("nvmlDeviceGetPowerUsage", code=999)

        with pytest.raises(GpuFailure) as raised:
            devices[0].read()

        assert ("error", "unknown") == (raised.value.state, raised.value.reason)

    def test_without_power_fields_a_failing_power_call_is_one_fact(self, opened: Open):
        """Where the batch gives energy, power that fails once is merely absent once."""
        driver, devices = opened()
        for field in (185, 186):
            driver.fail(f"field:{field}", code=2)
        driver.fail("nvmlDeviceGetPowerUsage", code=999, times=1)

        assert [(1000.0, None), (1000.0, 100.0)] == [
            (reading.energy_joules, reading.power_watts) for reading in (devices[0].read(), devices[0].read())
        ]

    def test_the_first_memory_call_counts_what_is_reserved(self, opened: Open):
        """Its `used` includes what the driver reserves, so reserved is absent."""
        driver, devices = opened()
        driver.set(0, memory_used_bytes=1000)
        driver.fail("nvmlDeviceGetMemoryInfo_v2", code=13)
        reading = devices[0].read()

        assert (1000 + 479 * MIB, None) == (
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
