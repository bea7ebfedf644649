"""Holders of GPUs, as a test decides."""

from collections.abc import Mapping, Sequence

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.identity.pod_resources import Container


class FixedPods:
    """Knows the containers that it is told of, by the UUID of the GPU or the MIG instance."""

    def __init__(self, holders: Mapping[str, tuple[Container, ...]], *, pending: bool = False) -> None:
        self.by_gpu = holders
        self.pending = pending

    def holders(self, gpu: GpuInfo, migs: Sequence[str] = ()) -> tuple[Container, ...]:
        return tuple(one for name in (gpu.uuid, *migs) for one in self.by_gpu.get(name, ()))
