"""How a GPU is virtualized, and its active vGPUs: in words, absent where not given, and cheap."""

from pathlib import Path

import pytest
from support.gpus.nvml import Open, opening

from perwatt_agent.clock import ManualClock
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.traits import Options

NOT_SUPPORTED, INSUFFICIENT_SIZE, UNKNOWN = 3, 7, 999
GUEST, HOST_VGPU = 2, 3
MODE, VGPUS = "nvmlDeviceGetVirtualizationMode", "nvmlDeviceGetActiveVgpus"


@pytest.fixture
def opened(tmp_path: Path, clock: ManualClock):
    with opening(tmp_path, clock) as opened:
        yield opened


class TestMode:
    @pytest.mark.parametrize(
        ("number", "word"),
        [
            *((0, "none"), (1, "passthrough"), (GUEST, "vgpu"), (HOST_VGPU, "host_vgpu"), (4, "host_vsga")),
            pytest.param(5, None, id="mode from the future"),
            pytest.param(-1, None, id="not supported"),
        ],
    )
    def test_is_asked_once(self, opened: Open, number: int, word: str | None):
        """The words of NVML's numbers; one call serves while the driver lives, also when it is refused."""
        driver, devices = opened()
        driver.set(0, virtualization_mode=number)

        assert [word] * 3 == [devices[0].read_slow().virtualization_mode for _ in range(3)]
        assert 1 == driver.calls(MODE, 0)

    def test_is_asked_until_it_came(self, opened: Open):
        """A failure that passes delays it, and is named."""
        driver, devices = opened()
        driver.fail(MODE, 0, UNKNOWN, times=1)
        devices[0].read_slow()

        assert {"virtualization_mode": "unknown"} == devices[0].read().failed_calls
        assert "none" == devices[0].read_slow().virtualization_mode
        assert {} == devices[0].read().failed_calls

    def test_an_older_driver_lacks_it(self, opened: Open):
        """Without the function there is neither fact, nor a failure."""
        driver, devices = opened()
        driver.fail(MODE, 0, code=13)
        slow = devices[0].read_slow()

        assert (None, None) == (slow.virtualization_mode, slow.active_vgpus)
        assert {} == devices[0].read().failed_calls


class TestActiveVgpus:
    def test_are_counted_at_every_slow_read(self, opened: Open):
        """Guests come and go; none is 0, because the host says so; a count costs one call."""
        driver, devices = opened()
        driver.set(0, virtualization_mode=HOST_VGPU)
        counts = []
        for active in (0, 3, 32, 1):
            driver.set(0, vgpu_count=active)
            counts.append(devices[0].read_slow().active_vgpus)

        assert [0, 3, 32, 1] == counts
        assert 4 == driver.calls(VGPUS, 0)

    @pytest.mark.parametrize("mode", [-1, 0, 1, GUEST, 4, 5])
    def test_are_not_asked_for_elsewhere(self, opened: Open, mode: int):
        """Only a host of vGPUs has any; of all others the count is absent, never 0."""
        driver, devices = opened()
        driver.set(0, virtualization_mode=mode, vgpu_count=2)

        assert None is devices[0].read_slow().active_vgpus
        assert 0 == driver.calls(VGPUS)

    def test_are_absent_where_the_host_does_not_give_them(self, opened: Open):
        """What is not supported is not asked for again, and is no failure."""
        driver, devices = opened()
        driver.set(0, virtualization_mode=HOST_VGPU)
        driver.fail(VGPUS, 0, NOT_SUPPORTED)

        assert [None, None] == [devices[0].read_slow().active_vgpus for _ in range(2)]
        assert 1 == driver.calls(VGPUS, 0)
        assert {} == devices[0].read().failed_calls

    @pytest.mark.parametrize("active", [256, 0xFFFFFFFF])
    def test_more_than_there_can_be_is_no_count(self, opened: Open, active: int):
        """A number that no board can have is absent, and the rest of the reading stays."""
        driver, devices = opened()
        driver.set(0, virtualization_mode=HOST_VGPU, vgpu_count=active)
        slow = devices[0].read_slow()

        assert ("host_vgpu", None) == (slow.virtualization_mode, slow.active_vgpus)

    @pytest.mark.parametrize("code", [INSUFFICIENT_SIZE, UNKNOWN])
    def test_a_failure_that_passes(self, opened: Open, code: int):
        """It is named, concerns nothing else, and the count is back with the next read."""
        driver, devices = opened()
        driver.set(0, virtualization_mode=HOST_VGPU, vgpu_count=2)
        driver.fail(VGPUS, 0, code, times=1)
        slow = devices[0].read_slow()

        assert ("host_vgpu", None, "default") == (
            slow.virtualization_mode,
            slow.active_vgpus,
            slow.compute_mode,
        )
        assert ["active_vgpus"] == list(devices[0].read().failed_calls)
        assert 2 == devices[0].read_slow().active_vgpus


def test_core_does_not_read_them(opened: Open, clock: ManualClock):
    """`gpu.detail: core` makes neither call."""
    driver, _ = opened()
    driver.set(virtualization_mode=HOST_VGPU, vgpu_count=1)
    backend = NvmlBackend(clock, Options(detail="core"))
    slow = backend.open().devices[0].read_slow()
    backend.close()

    assert (None, None) == (slow.virtualization_mode, slow.active_vgpus)
    assert (0, 0) == (driver.calls(MODE), driver.calls(VGPUS))
