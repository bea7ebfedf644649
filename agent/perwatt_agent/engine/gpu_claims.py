"""GPU claims of endpoints, and resolution of conflicting claims on one GPU."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.engine.mig_instances import WHOLE, HeldGpus, MigInstances, resolve_claim
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import GpuSample

logger = logging.getLogger(__name__)

GpuSelector = Literal["all"] | tuple[int | str, ...]


def selected(selector: GpuSelector, known: Sequence[GpuInfo]) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs in *known* that *selector* names by index or UUID."""
    if selector == "all":
        return tuple(info.uuid for info in known)
    return tuple(info.uuid for info in known if info.uuid in selector or info.claimed_as in selector)


def held(
    selector: GpuSelector, known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None = WHOLE
) -> HeldGpus:
    """Return what *selector* holds. *gpu_of* maps each MIG instance to its GPU; None if not known yet."""
    return resolve_claim(instances(selector), selected(selector, known), known, gpu_of)


def instances(selector: GpuSelector) -> tuple[str, ...]:
    """Return the MIG instances that *selector* names."""
    if selector == "all":
        return ()
    return tuple(one for one in selector if isinstance(one, str) and one.startswith("MIG-"))


def unmatched(selector: GpuSelector, known: Sequence[GpuInfo]) -> tuple[int | str, ...]:
    """Return the indices and UUIDs in *selector* that are those of no GPU in *known*."""
    if selector == "all":
        return ()
    names = {name for info in known for name in (info.uuid, info.claimed_as)}
    return tuple(one for one in selector if one not in names and one not in instances(selector))


class Claim(Struct, frozen=True):
    """The GPUs that an endpoint claims, and whether other endpoints may claim them too."""

    claimant: str
    gpus: GpuSelector
    shared: bool = False


class ClaimConflict(Struct, frozen=True):
    """A GPU that two claims name without sharing it: the first has it, the second does not."""

    gpu: GpuInfo
    first: Claim
    second: Claim


def claim_conflicts(
    claims: Sequence[Claim], known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None = WHOLE
) -> Iterator[ClaimConflict]:
    """
    Yield the conflicts that show once the driver has listed its GPUs.

    Only then is it known which index and UUID are the same GPU; the configuration already rejects all other
    conflicts. Two MIG instances of one GPU do not conflict. An instance and its whole GPU do.
    """
    parts = [held(claim.gpus, known, gpu_of) for claim in claims]
    for place, second in enumerate(claims):
        for gpu in known:
            for first, part in zip(claims[:place], parts, strict=False):
                if part.collides_with(parts[place], gpu.uuid) and not (first.shared and second.shared):
                    yield ClaimConflict(gpu, first, second)
                    break


def missing_instances(claims: Sequence[Claim], gpu_of: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return the claimants and MIG instances of claims on instances that do not exist."""
    return frozenset(
        (claim.claimant, mig) for claim in claims for mig in instances(claim.gpus) if mig not in gpu_of
    )


class GpuClaims:
    """
    The GPUs and MIG instances that each of *claims* holds.

    The earlier of two claims holds a GPU that they do not share. The later one goes without. *unidentified*
    is how many GPUs have no identity, which a claim on all GPUs misses.
    """

    def __init__(self, claims: Sequence[Claim] = (), unidentified: Callable[[], int] = lambda: 0) -> None:
        self._claims = tuple(claims)
        self._unidentified = unidentified
        self._read: set[str] | None = None
        self._unreadable: frozenset[str] = frozenset()
        self._instances = MigInstances()
        self._resolved_for: tuple[tuple[GpuInfo, ...], Mapping[str, str] | None] = ((), None)
        self._lost: dict[GpuSelector, frozenset[str]] = {}
        self._missing: frozenset[tuple[str, str]] = frozenset()
        self._unmatched: frozenset[tuple[str, str]] = frozenset()

    def update(self, samples: Iterable[GpuSample]) -> None:
        """Update the MIG instances, and which GPUs can be read, from the samples of one collection cycle."""
        samples = tuple(samples)
        self._instances.update(samples)
        self._read = (self._read or set()) | {sample.uuid for sample in samples if sample.state == "ok"}
        self._unreadable = frozenset(
            sample.uuid
            for sample in samples
            if sample.state == "lost" or (sample.state != "ok" and sample.uuid not in self._read)
        )

    @property
    def gpu_of(self) -> Mapping[str, str]:
        """The GPU of each MIG instance that is known."""
        return self._instances.gpu_of or WHOLE

    def held(self, selector: GpuSelector, known: Sequence[GpuInfo]) -> HeldGpus:
        """Return what *selector*, that of one of the claims, holds after conflicts."""
        gpu_of = self._instances.gpu_of
        if (tuple(known), gpu_of) != self._resolved_for:
            self._resolved_for = (tuple(known), gpu_of)
            self._resolve(known, gpu_of)
            self._report_missing(gpu_of)
            self._report_unmatched(known)
        found = held(selector, known, gpu_of).without(self._lost.get(selector, ()))
        return replace(found, missing=self._count_missing(selector, known, found))

    def _count_missing(self, selector: GpuSelector, known: Sequence[GpuInfo], found: HeldGpus) -> int | None:
        """Count what is claimed and not there: unknown names, GPUs that were never read, and lost ones."""
        if self._read is None or selector == () or (found.missing is None and instances(selector)):
            return found.missing
        unreadable = len(self._unreadable.intersection(found.gpus))
        nameless = self._unidentified() if selector == "all" else 0
        return (found.missing or 0) + len(unmatched(selector, known)) + unreadable + nameless

    def _resolve(self, known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None) -> None:
        lost: dict[GpuSelector, frozenset[str]] = {}
        for conflict in claim_conflicts(self._claims, known, gpu_of):
            before = lost.get(conflict.second.gpus, frozenset())
            lost[conflict.second.gpus] = before | {conflict.gpu.uuid}
            if conflict.gpu.uuid not in self._lost.get(conflict.second.gpus, frozenset()):
                logger.error("%s", describe_conflict(conflict))
        self._lost = lost

    def _report_missing(self, gpu_of: Mapping[str, str] | None) -> None:
        if gpu_of is None:
            return
        missing = missing_instances(self._claims, gpu_of)
        for claimant, mig in sorted(missing - self._missing):
            logger.warning(
                "%s claims %s, which does not exist, and gets none of its joules; correct its `gpus` "
                "(`nvidia-smi -L` lists the instances)",
                claimant,
                mig,
            )
        self._missing = missing

    def _report_unmatched(self, known: Sequence[GpuInfo]) -> None:
        """Log the claims on GPUs that this machine does not have, each once."""
        unknown = frozenset(
            (claim.claimant, str(one)) for claim in self._claims for one in unmatched(claim.gpus, known)
        )
        for claimant, gpu in sorted(unknown - self._unmatched):
            logger.warning(
                "%s claims GPU %s, which this machine does not have, so its figures are not valid; correct "
                "`gpus` of that entry of engines.endpoints",
                claimant,
                gpu,
            )
        self._unmatched = unknown


def describe_conflict(conflict: ClaimConflict) -> str:
    """Return the message of a conflict: the GPU, its claimants, and the setting to change."""
    gpu, first, second = conflict.gpu, conflict.first.claimant, conflict.second.claimant
    return (
        f"GPU {gpu.index} is {gpu.uuid}, which {first} and {second} both claim: {second} does not get its "
        "joules; set `shared: true` on both, or change the `gpus` of one"
    )
