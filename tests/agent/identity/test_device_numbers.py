"""Slurm and GKE mean a GPU by the number of its device node, which need not be the driver's index."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.pod_resources import Container, PodsRead
from perwatt_agent.identity.pod_resources_client import PodResourcesClient
from perwatt_agent.identity.slurm import SlurmJobMap


def gpus(minors: Sequence[int | None]) -> list[GpuInfo]:
    return [GpuInfo(f"GPU-{index}", index, "H200", minor_number=minor) for index, minor in enumerate(minors)]


def jobs_by_index(folder: Path, minors: Sequence[int | None]) -> list[str]:
    """The job of each GPU, where a prolog wrote job 100 + N for /dev/nvidiaN."""
    for number in range(len(minors)):
        (folder / str(number)).write_text(f"{100 + number}\n")
    identifier = Identifier(folder / "proc", jobs=SlurmJobMap(folder))
    return [identifier.identify(None, [gpu]).slurm_job for gpu in gpus(minors)]


class TestSlurm:
    @pytest.mark.parametrize("minors", list(permutations(range(4))))
    def test_any_order(self, tmp_path: Path, minors: tuple[int, ...]) -> None:
        """Each GPU's job is that of its device node, in whatever order the driver lists the GPUs."""
        assert [str(100 + minor) for minor in minors] == jobs_by_index(tmp_path, minors)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(minors=st.permutations(range(16)))
    def test_sixteen(self, tmp_path: Path, minors: list[int]) -> None:
        """The same for as many GPUs as a machine has, with numbers of two digits."""
        assert [str(100 + minor) for minor in minors] == jobs_by_index(tmp_path, minors)

    def test_no_minor_number(self, tmp_path: Path) -> None:
        """A driver without it: the index is all there is."""
        assert ["100", "101"] == jobs_by_index(tmp_path, [None, None])


@pytest.mark.parametrize("minors", list(permutations(range(3))))
def test_device_plugin(clock: ManualClock, minors: tuple[int, ...]) -> None:
    """GKE's `nvidiaN` is the device node's number; a UUID needs none."""
    client = PodResourcesClient(Path("unused"), clock)
    by_number = [Container("n", f"p{number}", "c", (f"nvidia{number}/gi1",)) for number in range(3)]
    client.receive(PodsRead(tuple(by_number)))

    for gpu, minor in zip(gpus(minors), minors, strict=True):
        assert (by_number[minor],) == client.holders(gpu)


def test_of_the_driver(tmp_path: Path, clock: ManualClock) -> None:
    """The driver gives each GPU's number, or none."""
    with FakeDriver.create(tmp_path, gpus=3).install() as driver:
        for gpu, minor in enumerate((2, 0, -1)):
            driver.set(gpu, minor_number=minor)
        infos = [device.info for device in NvmlBackend(clock).open().devices]

    assert [2, 0, None] == [info.minor_number for info in infos]
    assert [2, 0, 2] == [info.device_number for info in infos]
