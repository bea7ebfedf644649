"""Which GPUs an endpoint claims, and whose a GPU is that two of them claim without sharing it."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from perwatt_agent.engine.mig_instances import WHOLE, HeldGpus, MigInstances, in_parts
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import GpuSample

logger = logging.getLogger(__name__)

GpuSelector = Literal["all"] | tuple[int | str, ...]


def selected(selector: GpuSelector, known: Sequence[GpuInfo]) -> tuple[str, ...]:
    """The UUIDs, among the GPUs known so far, that *selector* names by index or UUID."""
    if selector == "all":
        return tuple(info.uuid for info in known)
    return tuple(info.uuid for info in known if info.uuid in selector or info.index in selector)


def held(
    selector: GpuSelector, known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None = WHOLE
) -> HeldGpus:
    """What *selector* comes to; *gpu_of* has the GPU of each MIG instance, None while that is not known."""
    return in_parts(instances(selector), selected(selector, known), known, gpu_of)


def instances(selector: GpuSelector) -> tuple[str, ...]:
    """The MIG instances that *selector* names."""
    if selector == "all":
        return ()
    return tuple(one for one in selector if isinstance(one, str) and one.startswith("MIG-"))


class Claim(Struct, frozen=True):
    """The GPUs that an endpoint, called *who*, claims, and whether others may claim them too."""

    who: str
    gpus: GpuSelector
    shared: bool = False


class ClaimConflict(Struct, frozen=True):
    """A GPU that an earlier claim has and a later one goes without."""

    gpu: GpuInfo
    first: Claim
    second: Claim


def claim_conflicts(
    claims: Sequence[Claim], known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None = WHOLE
) -> Iterator[ClaimConflict]:
    """
    The GPUs that two claims name without sharing them, which shows once the driver has named its GPUs.

    That an index and a UUID are the same GPU is not known before; what is, configuration refuses. Two MIG
    instances of one GPU are no dispute; one of them and the whole GPU are.
    """
    parts = [held(claim.gpus, known, gpu_of) for claim in claims]
    for place, second in enumerate(claims):
        for gpu in known:
            for first, part in zip(claims[:place], parts, strict=False):
                if part.collides_with(parts[place], gpu.uuid) and not (first.shared and second.shared):
                    yield ClaimConflict(gpu, first, second)
                    break


def missing_instances(claims: Sequence[Claim], gpu_of: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Who claims which MIG instance that is on no GPU."""
    return frozenset(
        (claim.who, mig) for claim in claims for mig in instances(claim.gpus) if mig not in gpu_of
    )


class GpuClaims:
    """
    The GPUs of each of *claims*, and their MIG instances: what an earlier one has and does not share, a later
    one goes without.
    """

    def __init__(self, claims: Sequence[Claim] = ()) -> None:
        self._claims = tuple(claims)
        self._instances = MigInstances()
        self._judged: tuple[tuple[GpuInfo, ...], Mapping[str, str] | None] = ((), None)
        self._lost: dict[GpuSelector, frozenset[str]] = {}
        self._absent: frozenset[tuple[str, str]] = frozenset()

    def note(self, samples: Iterable[GpuSample]) -> None:
        """Learn from a sweep which instances there are."""
        self._instances.note(samples)

    @property
    def gpu_of(self) -> Mapping[str, str]:
        """The GPU of each MIG instance, as far as they are known."""
        return self._instances.gpu_of or WHOLE

    def held(self, selector: GpuSelector, known: Sequence[GpuInfo]) -> HeldGpus:
        """What *selector*, which is that of a claim, has for its own."""
        gpu_of = self._instances.gpu_of
        if (tuple(known), gpu_of) != self._judged:
            self._judged = (tuple(known), gpu_of)
            self._judge(known, gpu_of)
            self._look_for_instances(gpu_of)
        return held(selector, known, gpu_of).without(self._lost.get(selector, ()))

    def _judge(self, known: Sequence[GpuInfo], gpu_of: Mapping[str, str] | None) -> None:
        lost: dict[GpuSelector, frozenset[str]] = {}
        for dispute in claim_conflicts(self._claims, known, gpu_of):
            before = lost.get(dispute.second.gpus, frozenset())
            lost[dispute.second.gpus] = before | {dispute.gpu.uuid}
            if dispute.gpu.uuid not in self._lost.get(dispute.second.gpus, frozenset()):
                logger.error("%s", describe_conflict(dispute))
        self._lost = lost

    def _look_for_instances(self, gpu_of: Mapping[str, str] | None) -> None:
        if gpu_of is None:
            return
        absent = missing_instances(self._claims, gpu_of)
        for who, mig in sorted(absent - self._absent):
            logger.warning(
                "%s claims %s, which does not exist: it has none of its joules; `nvidia-smi -L` lists the "
                "instances that there are",
                who,
                mig,
            )
        self._absent = absent


def describe_conflict(dispute: ClaimConflict) -> str:
    """What a dispute is about, who has the GPU, and what to do about it."""
    gpu, first, second = dispute.gpu, dispute.first.who, dispute.second.who
    return (
        f"GPU {gpu.index} is {gpu.uuid}, which {first} and {second} both claim: {second} goes without its "
        "joules; give `shared: true` to both, or one of them another GPU"
    )
