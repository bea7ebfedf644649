"""What each driver code makes of a read: a fact, a GPU or a generation is gone, and nothing else."""

from pathlib import Path

import pynvml
import pytest
from support.gpus.fakenvml import Constant
from support.gpus.nvml import Open, opening

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.backend import GenerationEnded, GpuFailure
from perwatt_agent.gpu.nvml.driver import errors
from perwatt_agent.gpu.nvml.driver.traits import Traits
from perwatt_agent.gpu.nvml.readers.tables import fast_fields

# Facts of a reading -> the entry point that gives them.
SECONDARY = {
    "utilization_ratio": "nvmlDeviceGetUtilizationRates",
    "clock_sm_hertz": "nvmlDeviceGetClockInfo",
    "temperature_memory_celsius": "field:82",
    "energy_joules": "field:83",
    "power_watts": "field:185",
}
# What one entry point gives besides.
ALONG_WITH = {"utilization_ratio": ("memory_utilization_ratio",)}
# Return codes -> the outcome, whichever call answers so; and of the others, the outcome when the batch does.
EVERYWHERE = {code: [GenerationEnded] * 3 for code in (1, 9, 18)} | {
    code: ["lost"] * 3 for code in (15, 16, 28)
}
WHOLE_BATCH = dict.fromkeys((3, 13, 25, 26), GpuReading)
TRANSIENT = [10, 11, 14, 19, 20, 21, 27, 29, 999, 777]


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    with opening(tmp_path, clock) as opened:
        yield opened


class TestFailures:
    @pytest.mark.parametrize("code", TRANSIENT)
    @pytest.mark.parametrize("fact", SECONDARY)
    def test_one_fact_fails_alone(self, opened: Open, fact: str, code: int):
        """A passing failure of one fact costs that fact in that reading and nothing else."""
        driver, devices = opened()
        before = devices[0].read()
        driver.fail(SECONDARY[fact], 0, code, times=1)
        during, after = devices[0].read(), devices[0].read()
        lost = {name for name in before.__struct_fields__ if getattr(during, name) != getattr(before, name)}

        assert {fact, "failed_calls", *ALONG_WITH.get(fact, ())} == lost
        assert {errors.describe(code).word} == set(during.failed_calls.values())
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
        table = fast_fields(Traits(driver=(580, 95, 5)))
        for field in {field.id for fields in table.values() for field in fields}:
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

    @pytest.mark.parametrize("code", [1, 15, 28])
    def test_what_changed_while_it_was_lost(self, opened: Open, code: int):
        """A reading that ended early is no excuse for an older value in the next one."""
        driver, devices = opened()
        for _ in range(2):
            assert 100.0 == devices[0].read().power_watts
        driver.set_waveform(0, Constant(200.0))
        driver.advance(5.0)
        driver.fail("field:83", 0, code, times=1)
        with pytest.raises((GpuFailure, GenerationEnded)):
            devices[0].read()

        assert 200.0 == devices[0].read().power_watts

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
        outcomes: list[object] = []
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
