"""Inventory of MIG instances, and the GPUs and instances that a claim holds."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import GpuSample

WHOLE: Mapping[str, str] = MappingProxyType({})
"""The GPU of each instance on a machine without MIG: an empty map."""


class HeldGpus(Struct, frozen=True):
    """
    The GPUs that a claim holds, by UUID; for GPUs that it holds in part, `migs` has the instances by GPU.

    `missing` counts the claimed instances that do not exist. It is None if the claim names no instance, and
    until a GPU has reported its instances.
    """

    gpus: tuple[str, ...] = ()
    migs: dict[str, tuple[str, ...]] = {}
    missing: int | None = None

    def without(self, lost: Iterable[str]) -> "HeldGpus":
        """Return what remains when the GPUs *lost* belong to another claim."""
        gpus = tuple(gpu for gpu in self.gpus if gpu not in set(lost))
        return HeldGpus(gpus, {gpu: migs for gpu, migs in self.migs.items() if gpu in gpus}, self.missing)

    def collides_with(self, other: "HeldGpus", gpu: str) -> bool:
        """Return whether both hold the whole GPU, or the same instance of it."""
        if gpu not in self.gpus or gpu not in other.gpus:
            return False
        mine, others = self.migs.get(gpu), other.migs.get(gpu)
        return mine is None or others is None or not set(mine).isdisjoint(others)


class MigInstances:
    """The MIG instances of this machine, as each GPU reported them last."""

    def __init__(self) -> None:
        self._by_gpu: dict[str, tuple[str, ...]] = {}
        self.gpu_of: Mapping[str, str] | None = None
        """The UUID of the GPU of each instance; None until a GPU has reported."""

    def update(self, samples: Iterable[GpuSample]) -> None:
        """Update the GPUs whose slow reading is in *samples*. The others keep their instances."""
        reported = {
            sample.uuid: tuple(one.uuid for one in sample.slow.mig or ())
            for sample in samples
            if sample.slow is not None
        }
        if reported:
            self._by_gpu |= reported
            self.gpu_of = {mig: gpu for gpu, migs in self._by_gpu.items() for mig in migs}


def resolve_claim(
    named: Sequence[str], whole: Sequence[str], known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None
) -> HeldGpus:
    """Return what a claim holds of the GPUs *known*: all of *whole*, and the *named* instances of others."""
    places = gpu_of or WHOLE
    migs = {
        info.uuid: here
        for info in known
        if info.uuid not in whole and (here := tuple(one for one in named if places.get(one) == info.uuid))
    }
    gpus = tuple(info.uuid for info in known if info.uuid in whole or info.uuid in migs)
    is_known = named and gpu_of is not None
    return HeldGpus(gpus, migs, sum(one not in places for one in named) if is_known else None)
