"""Holders of GPUs, as a test decides."""

from collections.abc import Mapping

from perwatt_agent.identity.podresources import Container
from perwatt_agent.snapshot import GpuInfo


class FixedPods:
    """Knows the containers that it is told of, by the GPU's UUID."""

    def __init__(self, holders: Mapping[str, tuple[Container, ...]], *, pending: bool = False) -> None:
        self.by_gpu = holders
        self.pending = pending

    def holders(self, gpu: GpuInfo) -> tuple[Container, ...]:
        return self.by_gpu.get(gpu.uuid, ())
