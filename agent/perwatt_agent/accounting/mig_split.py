"""Division of the joules of a GPU in MIG instances: by the slices and the SM activity of each."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.accounting.split import Holder, Split, split
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.facts.workload import Method


class Part(Struct, frozen=True):
    """
    One MIG instance: its number of compute slices, the part of its SMs that was active (None if unknown), and
    the workloads that hold it. `has_strangers` means that nobody holds it, but some process computes in it.
    """

    slices: int
    activity: float | None = None
    holders: tuple[Holder, ...] = ()
    has_strangers: bool = False

    @property
    def is_used(self) -> bool:
        return bool(self.holders) or self.has_strangers

    @property
    def has_work(self) -> bool:
        """Whether anyone in it may have work, as engines report it."""
        return self.has_strangers or any(holder.busy is not False for holder in self.holders)


class Layout(Struct, frozen=True):
    """Instances of a divided GPU, the number of `slices` of the whole GPU, and its processes if known."""

    instances: tuple[MigReading, ...]
    slices: int
    processes: tuple[GpuProcess, ...] | None = None

    def of(self, pids: Iterable[int]) -> tuple[str, ...]:
        """Return the instances in which any of these processes computes."""
        wanted = set(pids)
        found = {process.mig for process in self.processes or () if process.pid in wanted}
        return tuple(one.uuid for one in self.instances if one.uuid in found)

    def parts(self, holders: Mapping[str, Sequence[Holder]]) -> list[Part]:
        """Return the instances with their holders; *holders* are by the UUID of the instance."""
        computing = {process.mig for process in self.processes or ()}
        # Activity is measured per GPU instance: the compute instances that are used explain it.
        explained = {
            one.gpu_instance for one in self.instances if one.uuid in computing or holders.get(one.uuid)
        }
        return [
            Part(
                one.compute_slices or 0,
                activity(one),
                tuple(holders.get(one.uuid, ())),
                has_strangers=not holders.get(one.uuid)
                and (one.uuid in computing or (one.gpu_instance not in explained and bool(activity(one)))),
            )
            for one in self.instances
        ]

    def aged(self) -> "Layout":
        """Return the layout without activity, for when it was not read for long."""
        return Layout(tuple(replace(one, gpm=None) for one in self.instances), self.slices)


def activity(instance: MigReading) -> float | None:
    """Return the mean part of an instance's SMs that was active since the previous slow read."""
    return None if instance.gpm is None else instance.gpm.sm_active_ratio


def layout(slow: GpuSlowReading) -> Layout | None:
    """Return how a GPU is divided; None if it is not, or if the sizes of its instances are unknown."""
    if slow.mig is None or slow.mig_slices is None or any(one.compute_slices is None for one in slow.mig):
        return None
    return Layout(slow.mig, slow.mig_slices, slow.processes)


def by_slices(parts: Sequence[Part], slices: int, names: Iterable[str]) -> Split:
    """
    Divide a GPU with this number of *slices* among its *parts*; *names* are all of its holders.

    Idle power is divided by slices, over all slices of the GPU. Power above it is divided by slices x
    activity over the parts in use. If the activity of one of them is unknown, it is divided by the slices of
    the parts that may have work. Workloads that hold a part together divide it as they would a GPU. (Kepler's
    P_active x a_i / sum a, with the slices of CEEMS, whose 4g instance weighs 4.)
    """
    whole = max(slices, sum(part.slices for part in parts), 1)
    method, weights = _weights(parts)
    total = sum(weights) or 1.0
    shares = dict.fromkeys(names, 0.0)
    idle_shares = dict.fromkeys(shares, 0.0)
    others = idle_others = 0.0
    for part, weight in zip(parts, weights, strict=True):
        if part.has_strangers:
            others += weight / total
            idle_others += part.slices / whole
        elif part.holders:
            for name, share in split(part.holders).shares.items():
                shares[name] += share * weight / total
                idle_shares[name] += part.slices / whole / len(part.holders)
    used = sum(part.slices for part in parts if part.is_used)
    # If no part is in use, the owner of power above idle power is unknown.
    return Split(
        method,
        shares,
        others if any(weights) else 1.0,
        idle_shares,
        idle_others,
        unheld=(whole - used) / whole,
        resting=frozenset(shares) - _at_work(parts),
    )


def _weights(parts: Sequence[Part]) -> tuple[Method, list[float]]:
    """Return the method and the weight of each part; a part that is not in use has none."""
    activities = [part.activity for part in parts if part.is_used and part.activity is not None]
    if len(activities) == sum(part.is_used for part in parts) and sum(activities) > 0.0:
        return "mig_activity", [part.is_used * part.slices * (part.activity or 0.0) for part in parts]
    slices = [float(part.is_used * part.slices) for part in parts]
    working = [weight * part.has_work for part, weight in zip(parts, slices, strict=True)]
    return "mig_slice", working if any(working) else slices


def _at_work(parts: Sequence[Part]) -> frozenset[str]:
    """Return the workloads in whose parts something may have run."""
    return frozenset(holder.name for part in parts if part.activity != 0.0 for holder in part.holders)
