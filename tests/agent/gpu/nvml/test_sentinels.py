"""Values by which a driver says that it does not know: they never become numbers."""

from pathlib import Path

import pytest
from support.gpus.fakenvml import Constant
from support.gpus.nvml import Open, opening

from perwatt_agent.clock import ManualClock

ONES = 0xFFFFFFFF


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    with opening(tmp_path, clock) as opened:
        yield opened


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

    @pytest.mark.parametrize(
        ("settings", "fact"),
        [
            pytest.param({"encoder_percent": ONES}, "encoder_ratio", id="encoder"),
            pytest.param({"performance_state": 32}, "performance_state", id="P-state unknown"),
            pytest.param({"pcie_width": ONES}, "pcie_width", id="link width"),
            pytest.param({"pcie_generation": ONES}, "pcie_generation", id="link generation"),
            pytest.param({"margin_celsius": 0x7FFFFFFF}, "temperature_margin_celsius", id="margin"),
            pytest.param({"bar1_used_bytes": 2**64 - 1}, "bar1_used_bytes", id="BAR1"),
            pytest.param({"compute_mode": 77}, "compute_mode", id="mode from the future"),
            pytest.param({"persistence": ONES}, "persistence", id="neither on nor off"),
            pytest.param({"fabric_state": 77}, "fabric_state", id="state from the future"),
            pytest.param({"field_value": {142: ONES}}, "remapped_rows_corrected", id="count"),
            pytest.param({"field_value": {144: ONES}}, "remapped_rows_pending", id="neither yes nor no"),
        ],
    )
    def test_never_become_slow_facts(self, opened: Open, settings: dict[str, object], fact: str):
        """The same holds for what is read every ten seconds."""
        driver, devices = opened()
        driver.set(0, **settings)

        assert None is getattr(devices[0].read_slow(), fact)
        assert None is not getattr(devices[1].read_slow(), fact)

    @pytest.mark.parametrize("ones", [0xFFFFFFFF, -1], ids=["32 bits", "64 bits"])
    def test_never_become_counts(self, opened: Open, ones: int):
        """All ones, in either width, are no time, no bytes and no errors."""
        driver, devices = opened()
        driver.set(0, field_value=dict.fromkeys((74, 197, 193, 3), ones))
        reading, slow = devices[0].read(), devices[0].read_slow()

        assert "sw_power_cap" not in reading.throttled_seconds
        assert None is reading.pcie_transmitted_bytes
        assert ("volatile", "corrected", "all") not in {
            (count.kind, count.type, count.location) for count in slow.ecc_errors
        }

    def test_a_value_of_an_unknown_type_is_absent(self, opened: Open):
        """A later driver may give values in a type of its own; single calls then serve."""
        driver, devices = opened()
        driver.set(0, odd_value_type=9)
        reading = devices[0].read()

        assert (1000.0, 100.0, None) == (
            reading.energy_joules,
            reading.power_watts,
            reading.temperature_memory_celsius,
        )

    def test_power_that_no_board_draws_is_absent(self, opened: Open):
        """4.29 megawatts is how a driver says that it does not know."""
        driver, devices = opened()
        driver.set_waveform(0, Constant(4_294_967.295))
        driver.advance(2.0)

        assert None is devices[0].read().power_watts
