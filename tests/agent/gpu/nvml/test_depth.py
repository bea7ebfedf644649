"""What a GPU tells in depth, in the words and units of the readings, on every generation of boards."""

from pathlib import Path

import pytest
from msgspec.structs import asdict
from support.gpus.fakedepth import enable_mig, set_fields
from support.gpus.nvml import Open, opening

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.ecc import EccCount, SramErrors
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.traits import Options, version_numbers

GIB = 1 << 30
NEWER_REASONS = ("sw_thermal", "hw_thermal", "hw_power_brake")


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    with opening(tmp_path, clock) as opened:
        yield opened


class TestCore:
    """`gpu.detail: core` is what efficiency, attribution and the dashboards stand on."""

    def test_all_that_is_read(self, opened: Open, clock: ManualClock):
        """Energy, power, load, memory, heat, clocks, limits and processes are read, and nothing else."""
        driver, _ = opened(gpus=1)
        driver.set_processes(0, [(1, 10)], [1])
        backend = NvmlBackend(clock, Options(detail="core"))
        device = backend.open().devices[0]
        fast, slow = device.read(), device.read_slow()
        backend.close()

        assert {
            *("monotonic_seconds", "energy_joules", "power_watts", "utilization_ratio"),
            *("memory_used_bytes", "memory_reserved_bytes", "memory_total_bytes", "memory_utilization_ratio"),
            *("temperature_core_celsius", "temperature_memory_celsius", "clock_sm_hertz"),
        } == told(fast)
        assert {
            *("monotonic_seconds", "clock_memory_hertz", "processes"),
            *(f"power_limit{which}_watts" for which in ("", "_default", "_min", "_max")),
        } == told(slow)


def told(reading: GpuReading | GpuSlowReading) -> set[str]:
    """The facts of a reading that differ from those of one that says nothing."""
    nothing = asdict(type(reading)(monotonic_seconds=-1.0))
    return {fact for fact, value in asdict(reading).items() if value != nothing[fact]}


class TestThrottling:
    def test_seconds_by_reason(self, opened: Open):
        """The counters are nanoseconds, and become seconds."""
        driver, devices = opened()
        set_fields(driver, 0, {74: 1_500_000_000, 79: 250_000_000, 271: 3_000_000_000})
        seconds = devices[0].read().throttled_seconds

        assert {"sw_power_cap": 1.5, "reliability": 0.25, "hw_power_brake": 3.0} == {
            reason: amount for reason, amount in seconds.items() if amount
        }

    @pytest.mark.parametrize(
        ("version", "seconds"),
        [
            pytest.param("570.86.15", {}, id="power smoothing lies there"),
            pytest.param("575.51.03", {"sw_thermal": 1.0, "hw_thermal": 2.0, "hw_power_brake": 3.0}),
            pytest.param("580.65.06", {"sw_thermal": 1.0, "hw_thermal": 2.0, "hw_power_brake": 3.0}),
            pytest.param("580.82.07", {"sw_thermal": 1.0, "hw_thermal": 2.0, "hw_power_brake": 3.0}),
            pytest.param("610.10", {"sw_thermal": 1.0, "hw_thermal": 2.0, "hw_power_brake": 3.0}),
            pytest.param("unheard-of", {}, id="no number"),
        ],
    )
    def test_ids_above_250_go_by_the_driver(
        self, opened: Open, tmp_path: Path, clock: ManualClock, version: str, seconds: dict[str, float]
    ):
        """They were renumbered twice: what lies there in another driver is never taken for seconds."""
        driver, _ = opened()
        driver.set_driver_version(version)
        set_fields(driver, 0, {269: 1_000_000_000, 270: 2_000_000_000, 271: 3_000_000_000})
        backend = NvmlBackend(clock)
        throttled = backend.open().devices[0].read().throttled_seconds

        assert seconds == {reason: throttled[reason] for reason in throttled if reason in NEWER_REASONS}
        backend.close()

    def test_a_cap_that_is_none(self, opened: Open):
        """GeForce boards of Turing count time at the power cap far below it: time and state are absent."""
        driver, devices = opened("geforce_turing")
        set_fields(driver, 0, {74: 9_000_000_000, 271: 1_000_000_000})
        driver.set(0, event_reasons=0x4 | 0x8)
        reading, slow = devices[0].read(), devices[0].read_slow()

        assert ("sw_power_cap" in reading.throttled_seconds, 1.0) == (
            False,
            reading.throttled_seconds["hw_power_brake"],
        )
        assert (("hw_slowdown",), ("sw_power_cap",)) == (
            slow.throttle_reasons,
            slow.throttle_reasons_unknown,
        )
        assert 0 == driver.calls("field:74")

    @pytest.mark.parametrize("older_driver", [False, True])
    def test_reasons_of_now(self, opened: Open, older_driver: bool):
        """The bits by their words, under both names of the call; bits from the future are left out."""
        driver, devices = opened()
        if older_driver:
            driver.fail("nvmlDeviceGetCurrentClocksEventReasons", code=13)
        driver.set(0, event_reasons=0x1 | 0x4 | 0x80 | 1 << 40)

        assert [("idle", "sw_power_cap", "hw_power_brake"), ("idle",)] == [
            device.read_slow().throttle_reasons for device in devices
        ]


class TestLinks:
    @pytest.mark.parametrize("architecture", ["hopper", "blackwell"])
    def test_nvlink_bytes_of_all_links(self, opened: Open, architecture: str):
        """Each generation has counters of its own, in its own unit; they become bytes."""
        driver, devices = opened(architecture)
        driver.set(0, utilization_percent=10)
        reading = devices[0].read()

        assert (10 * 1024 * 10 * 1024 * 18,) * 2 == (
            reading.nvlink_transmitted_bytes,
            reading.nvlink_received_bytes,
        )

    @pytest.mark.parametrize(
        ("architecture", "field", "kind"), [("hopper", 52, "replay"), ("blackwell", 211, "link_integrity")]
    )
    def test_nvlink_errors_by_kind(self, opened: Open, architecture: str, field: int, kind: str):
        """What went wrong on the links, by the kinds of their generation."""
        driver, devices = opened(architecture)
        set_fields(driver, 0, {field: 7})
        errors = devices[0].read_slow().nvlink_errors

        assert {kind: 7} == {name: count for name, count in errors.items() if count}

    def test_pcie(self, opened: Open):
        """Counters each second, what the link is every ten; the call that blocks is never made."""
        driver, devices = opened()
        set_fields(driver, 0, {197: 5000, 198: 7000, 94: 3})
        driver.set(0, pcie_width=8, pcie_generation=4)
        reading, slow = devices[0].read(), devices[0].read_slow()

        assert (5000, 7000, 3) == (
            reading.pcie_transmitted_bytes,
            reading.pcie_received_bytes,
            reading.pcie_replays,
        )
        assert (4, 5, 8, 16) == (
            slow.pcie_generation,
            slow.pcie_generation_max,
            slow.pcie_width,
            slow.pcie_width_max,
        )
        assert 0 == driver.calls("nvmlDeviceGetPcieThroughput")

    @pytest.mark.parametrize(("state", "word"), [(1, "not_started"), (2, "in_progress"), (3, "completed")])
    def test_fabric(self, opened: Open, state: int, word: str):
        """How far the GPU has come in joining its fabric, and how that fares."""
        driver, devices = opened()
        driver.set(0, fabric_state=state, fabric_health=3)
        slow = devices[0].read_slow()

        assert (word, "limited_capacity") == (slow.fabric_state, slow.fabric_health)


class TestErrors:
    def test_ecc_by_kind_type_and_place(self, opened: Open):
        """Every field of the header under its own words."""
        driver, devices = opened()
        set_fields(driver, 0, {3: 10, 6: 20, 10: 30, 17: 40, 22: 50, 28: 60})
        counts = [count for count in devices[0].read_slow().ecc_errors if count.errors]

        assert counts == [
            EccCount("volatile", "corrected", "all", 10),
            EccCount("aggregate", "uncorrected", "all", 20),
            EccCount("volatile", "uncorrected", "l2", 30),
            EccCount("volatile", "uncorrected", "cbu", 40),
            EccCount("aggregate", "corrected", "device_memory", 50),
            EccCount("aggregate", "uncorrected", "cbu", 60),
        ]

    def test_remapped_rows(self, opened: Open):
        """Ampere and newer remap rows; what is pending or failed is a yes or a no."""
        driver, devices = opened()
        set_fields(driver, 0, {1: 1, 142: 2, 143: 1, 144: 1, 145: 0})
        slow = devices[0].read_slow()

        assert (True, 2, 1, True, False) == (
            slow.ecc_enabled,
            slow.remapped_rows_corrected,
            slow.remapped_rows_uncorrected,
            slow.remapped_rows_pending,
            slow.remapped_rows_failed,
        )
        assert (None, None, None) == (
            slow.retired_pages_corrected,
            slow.retired_pages_uncorrected,
            slow.retired_pages_pending,
        )

    def test_sram(self, opened: Open):
        """How errors were found, in which part of the chip, and whether there were too many."""
        driver, devices = opened()
        driver.set(0, sram_count=list(range(1, 12)), sram_threshold_exceeded=1)

        assert devices[0].read_slow().sram_errors == SramErrors(
            volatile_corrected=6,
            volatile_parity=4,
            volatile_secded=5,
            aggregate_corrected=3,
            aggregate_parity=1,
            aggregate_secded=2,
            aggregate_uncorrected={"l2": 7, "sm": 8, "pcie": 9, "microcontroller": 10, "other": 11},
            threshold_exceeded=True,
        )

    @pytest.mark.parametrize("code", [3, 4, 13])
    def test_sram_may_need_root(self, opened: Open, code: int, caplog: pytest.LogCaptureFixture):
        """Without the right to it, it is absent, nothing fails, and the log says nothing."""
        driver, devices = opened()
        driver.fail("nvmlDeviceGetSramEccErrorStatus", code=code)
        readings = [devices[0].read_slow().sram_errors for _ in range(3)]

        assert [None] * 3 == readings
        assert {} == devices[0].read().failed_calls
        assert 1 == driver.calls("nvmlDeviceGetSramEccErrorStatus")
        assert [] == caplog.records

    def test_sram_without_ecc(self, opened: Open):
        """With ECC off nobody counts, and a 0 would be false."""
        driver, devices = opened()
        set_fields(driver, 0, {1: 0})

        assert None is devices[0].read_slow().sram_errors

    def test_spare_rows(self, opened: Open):
        """How many banks have how many spare rows left; also with MIG, when remapped rows are absent."""
        driver, devices = opened()
        driver.set(0, remap_banks=(2557, 1, 0, 0, 2))
        enable_mig(driver, 0)
        slow = devices[0].read_slow()

        assert {"max": 2557, "high": 1, "partial": 0, "low": 0, "none": 2} == slow.remap_banks
        assert None is slow.remapped_rows_corrected

    def test_retired_pages(self, opened: Open):
        """Boards before Ampere retire pages."""
        driver, devices = opened("volta")
        set_fields(driver, 0, {29: 4, 30: 1, 31: 1})
        slow = devices[0].read_slow()

        assert (4, 1, True, None) == (
            slow.retired_pages_corrected,
            slow.retired_pages_uncorrected,
            slow.retired_pages_pending,
            slow.remapped_rows_pending,
        )

    @pytest.mark.parametrize(
        ("number", "action"), [(0, "none"), (1, "reset"), (2, "reboot"), (7, "system_reboot"), (99, "other")]
    )
    def test_recovery_action(self, opened: Open, number: int, action: str):
        """What the driver asks for, also when it is a word from the future."""
        driver, devices = opened()
        set_fields(driver, 0, {230: number})

        assert action == devices[0].read_slow().recovery_action


class TestHeat:
    def test_margins_are_signed(self, opened: Open):
        """Since Ada a board tells how far it is from its limit, and beyond which distance it acts."""
        driver, devices = opened()
        driver.set(0, margin_celsius=-3)
        slow = devices[0].read_slow()

        assert -3.0 == slow.temperature_margin_celsius
        assert {"shutdown": -8.0, "slowdown": -2.0, "memory_max": 0.0, "gpu_max": 0.0} == (
            slow.temperature_margins_celsius
        )
        assert {} == slow.temperature_thresholds_celsius
        assert 0 == driver.calls("nvmlDeviceGetTemperatureThreshold")

    def test_thresholds_are_asked_once(self, opened: Open):
        """Older boards tell temperatures, which never change; one that they lack is absent."""
        driver, devices = opened("ga100")
        readings = [devices[0].read_slow() for _ in range(3)]

        assert [{"shutdown": 95.0, "slowdown": 92.0, "gpu_max": 85.0}] * 3 == [
            slow.temperature_thresholds_celsius for slow in readings
        ]
        assert 4 == driver.calls("nvmlDeviceGetTemperatureThreshold")
        assert None is readings[0].temperature_margin_celsius

    def test_fans(self, opened: Open):
        """A board with fans tells each of them, one without is asked once."""
        driver, devices = opened("ada")
        driver.set(0, fan_count=2, fan_percent=(55, 103))

        assert [(0.55, 1.0)] * 2 == [devices[0].read_slow().fan_ratios for _ in range(2)]
        assert [()] * 2 == [devices[1].read_slow().fan_ratios for _ in range(2)]
        assert (1, 4) == (driver.calls("nvmlDeviceGetNumFans", 1), driver.calls("nvmlDeviceGetFanSpeed_v2"))


def test_clocks_modes_and_engines(opened: Open):
    """What else there is, in base units and words."""
    driver, devices = opened()
    driver.set(0, encoder_percent=12, decoder_percent=34, performance_state=2, compute_mode=3, persistence=0)
    driver.set(0, memory_used_bytes=4 << 20, clock_max_mhz=(1980, 1980, 2700))
    slow = devices[0].read_slow()

    assert (0.12, 0.34, 2, "exclusive_process", False) == (
        slow.encoder_ratio,
        slow.decoder_ratio,
        slow.performance_state,
        slow.compute_mode,
        slow.persistence,
    )
    assert (5 << 20, 128 * GIB) == (slow.bar1_used_bytes, slow.bar1_total_bytes)
    assert (2.619e9, 1.98e9, 2.7e9) == (
        slow.clock_memory_hertz,
        slow.clock_sm_max_hertz,
        slow.clock_memory_max_hertz,
    )


def test_facts_that_never_change_are_asked_until_they_came(opened: Open):
    """A failure that passes delays them; once known they cost nothing."""
    driver, devices = opened()
    driver.fail("nvmlDeviceGetMaxPcieLinkWidth", 0, code=999, times=1)

    assert [None, 16, 16] == [devices[0].read_slow().pcie_width_max for _ in range(3)]
    assert 2 == driver.calls("nvmlDeviceGetMaxPcieLinkWidth", 0)


def test_an_old_board_gives_little_and_is_asked_no_more(opened: Open):
    """Before Volta most is absent, never 0; after the first read only what is given is asked for."""
    driver, devices = opened("pascal")
    driver.set(0, pcie_width_max=0)
    devices[0].read_slow()
    before = driver.calls(gpu=0)
    slow = devices[0].read_slow()

    absent = ("mig", "fabric_state", "recovery_action", "temperature_margin_celsius", "pcie_width_max")
    assert [None] * 5 == [getattr(slow, name) for name in absent]
    assert ({}, ()) == (slow.nvlink_errors, slow.fan_ratios)
    assert 12 == driver.calls(gpu=0) - before


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("580.95.05", (580, 95, 5)), ("470", (470,)), ("580.x", (580,)), ("", ()), ("simulated", ())],
)
def test_versions_in_numbers(version: str, numbers: tuple[int, ...]):
    """A version is compared number by number; what is none is before all others."""
    assert numbers == version_numbers(version)
