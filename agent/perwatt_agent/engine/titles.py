"""Which GPUs an endpoint claims, and whose a GPU is that two of them claim without sharing it."""

import logging
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from perwatt_agent.snapshot import GpuInfo

logger = logging.getLogger(__name__)

GpuSelector = Literal["all"] | tuple[int | str, ...]


def selected(selector: GpuSelector, known: Sequence[GpuInfo]) -> tuple[str, ...]:
    """The UUIDs, among the GPUs known so far, that *selector* names by index or UUID."""
    if selector == "all":
        return tuple(info.uuid for info in known)
    return tuple(info.uuid for info in known if info.uuid in selector or info.index in selector)


class Claim(Struct, frozen=True):
    """The GPUs that an endpoint, called *who*, claims, and whether others may claim them too."""

    who: str
    gpus: GpuSelector
    shared: bool = False


class Dispute(Struct, frozen=True):
    """A GPU that an earlier claim has and a later one goes without."""

    gpu: GpuInfo
    first: Claim
    second: Claim


def disputes(claims: Sequence[Claim], known: Sequence[GpuInfo]) -> Iterator[Dispute]:
    """
    The GPUs that two claims name without sharing them, which shows once the driver has named its GPUs.

    That an index and a UUID are the same GPU is not known before; what is, configuration refuses.
    """
    for place, second in enumerate(claims):
        for gpu in known:
            if gpu.uuid not in selected(second.gpus, known):
                continue
            for first in claims[:place]:
                if gpu.uuid in selected(first.gpus, known) and not (first.shared and second.shared):
                    yield Dispute(gpu, first, second)
                    break


class Titles:
    """The GPUs of each of *claims*: what an earlier one has and does not share, a later one goes without."""

    def __init__(self, claims: Sequence[Claim] = ()) -> None:
        self._claims = tuple(claims)
        self._known: tuple[GpuInfo, ...] = ()
        self._lost: dict[GpuSelector, frozenset[str]] = {}

    def selected(self, selector: GpuSelector, known: Sequence[GpuInfo]) -> tuple[str, ...]:
        """The UUIDs that *selector*, which is that of a claim, has for its own."""
        if tuple(known) != self._known:
            self._known = tuple(known)
            self._judge()
        lost = self._lost.get(selector, frozenset())
        return tuple(uuid for uuid in selected(selector, known) if uuid not in lost)

    def _judge(self) -> None:
        lost: dict[GpuSelector, frozenset[str]] = {}
        for dispute in disputes(self._claims, self._known):
            before = lost.get(dispute.second.gpus, frozenset())
            lost[dispute.second.gpus] = before | {dispute.gpu.uuid}
            if dispute.gpu.uuid not in self._lost.get(dispute.second.gpus, frozenset()):
                logger.error("%s", in_words(dispute))
        self._lost = lost


def in_words(dispute: Dispute) -> str:
    """What a dispute is about, who has the GPU, and what to do about it."""
    gpu, first, second = dispute.gpu, dispute.first.who, dispute.second.who
    return (
        f"GPU {gpu.index} is {gpu.uuid}, which {first} and {second} both claim: {second} goes without its "
        "joules; give `shared: true` to both, or one of them another GPU"
    )
