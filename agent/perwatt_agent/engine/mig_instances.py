"""The MIG instances that there are, and which part of which GPU a claim on them is."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import GpuSample

WHOLE: Mapping[str, str] = MappingProxyType({})
"""The instances of a machine whose GPUs are not divided."""


class HeldGpus(Struct, frozen=True):
    """
    What a claim comes to: the UUIDs of its `gpus`, and of those that it holds in part, the instances, by GPU.

    `missing` is how many of the instances that it names do not exist; None where it names none, and while
    no GPU has told of any.
    """

    gpus: tuple[str, ...] = ()
    migs: dict[str, tuple[str, ...]] = {}
    missing: int | None = None

    def without(self, lost: Iterable[str]) -> "HeldGpus":
        """What is left when other GPUs than these are its own."""
        gpus = tuple(gpu for gpu in self.gpus if gpu not in set(lost))
        return HeldGpus(gpus, {gpu: migs for gpu, migs in self.migs.items() if gpu in gpus}, self.missing)

    def collides_with(self, other: "HeldGpus", gpu: str) -> bool:
        """Whether both have a part of a GPU for which there is no room for two."""
        if gpu not in self.gpus or gpu not in other.gpus:
            return False
        mine, others = self.migs.get(gpu), other.migs.get(gpu)
        return mine is None or others is None or not set(mine).isdisjoint(others)


class MigInstances:
    """Which MIG instances there are, by UUID, and on which GPU, as each GPU told at last."""

    def __init__(self) -> None:
        self._by_gpu: dict[str, tuple[str, ...]] = {}
        self.gpu_of: Mapping[str, str] | None = None
        """The UUID of the GPU of each instance; None before any GPU told."""

    def note(self, samples: Iterable[GpuSample]) -> None:
        """Take note of a sweep: of those that were read slowly. The others have what they had."""
        told = {
            sample.uuid: tuple(one.uuid for one in sample.slow.mig or ())
            for sample in samples
            if sample.slow is not None
        }
        if told:
            self._by_gpu |= told
            self.gpu_of = {mig: gpu for gpu, migs in self._by_gpu.items() for mig in migs}


def in_parts(
    named: Sequence[str], whole: Sequence[str], known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None
) -> HeldGpus:
    """What is held of the GPUs *known* by who has *whole* ones, and of others the parts that are *named*."""
    places = gpu_of or WHOLE
    migs = {
        info.uuid: here
        for info in known
        if info.uuid not in whole and (here := tuple(one for one in named if places.get(one) == info.uuid))
    }
    gpus = tuple(info.uuid for info in known if info.uuid in whole or info.uuid in migs)
    is_told = named and gpu_of is not None
    return HeldGpus(gpus, migs, sum(one not in places for one in named) if is_told else None)
