"""GPU inventory: which GPUs the machine has, over driver generations, agent restarts and reboots."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from perwatt_agent.facts.gpu import GpuInfo

logger = logging.getLogger(__name__)

NO_INDEX = -1
"""The claimed index of a GPU that no claim by index means: a missing GPU has its index."""


class Memory(Protocol):
    """What outlives a reboot."""

    def load(self) -> tuple[GpuInfo, ...]: ...

    def save(self, gpus: Sequence[GpuInfo]) -> None: ...


class NoMemory:
    """Memory of a machine whose GPUs are not real, or not this machine's."""

    def load(self) -> tuple[GpuInfo, ...]:
        return ()

    def save(self, gpus: Sequence[GpuInfo]) -> None:
        """Nothing is kept."""


class GpuInventory:
    """
    Every GPU that the machine has, whether the driver lists it or not.

    A GPU that was there before and is not now stays, and keeps its index for claims by index, until as many
    GPUs are there as before: then those that are not listed were replaced.
    """

    def __init__(self, memory: Memory | None = None, excluded: Sequence[int | str] = ()) -> None:
        self._memory = memory or NoMemory()
        self._excluded = frozenset(excluded)
        self._remembered: dict[str, GpuInfo] | None = None
        self._infos: dict[str, GpuInfo] = {}
        self._index_of: dict[str, int] = {}
        self._total = 0
        self._unidentified = 0
        self._moved: dict[str, int] = {}
        self._seen: set[str] = set()

    @property
    def known(self) -> tuple[GpuInfo, ...]:
        """Every GPU with a UUID, by index; a missing one stands at the index that it had."""
        return tuple(
            sorted(self._infos.values(), key=lambda info: (info.index, info.claim_index is not None))
        )

    @property
    def unidentified(self) -> int:
        """How many GPUs are there beside those in `known`: no GPU counts twice."""
        return min(self._unidentified, max(0, self._total - len(self._infos)))

    def is_excluded(self, info: GpuInfo) -> bool:
        """Whether the configuration leaves this GPU out, by UUID, index or name."""
        return not self._excluded.isdisjoint((info.uuid, info.index, info.name))

    def expect_remembered(self) -> tuple[GpuInfo, ...]:
        """The GPUs of before, now known, while the driver lists none; each is returned once."""
        remembered = self._load()
        new = tuple(info for uuid, info in remembered.items() if uuid not in self._infos)
        for info in new:
            self._infos[info.uuid] = info
            self._index_of[info.uuid] = info.index
        self._total = max(self._total, len(self._infos))
        return new

    def update(self, listed: Iterable[GpuInfo], unidentified: int) -> tuple[GpuInfo, ...]:
        """Take in what the driver lists now; return those of `known` that it does not list."""
        now = {info.uuid: info for info in listed}
        self.expect_remembered()
        self._seen |= now.keys()
        count = len(now) + unidentified
        gone = self._infos.keys() - now.keys()
        if gone and len(now) >= max(self._total, len(self._load())):
            self._forget_replaced(gone - self._seen)
            gone = self._infos.keys() - now.keys()
        self._total = max(self._total, count)
        self._unidentified = unidentified
        if not gone and not unidentified:
            self._index_of = {uuid: info.index for uuid, info in now.items()}
        self._infos |= now
        self._infos = {uuid: self._with_claim_index(info) for uuid, info in self._infos.items()}
        self._report_moved({info.uuid: info.index for info in now.values()})
        self._memory.save([replace(info, claim_index=None, index=self._index(info)) for info in self.known])
        return tuple(self._infos[uuid] for uuid in gone)

    def _load(self) -> dict[str, GpuInfo]:
        if self._remembered is None:
            infos = (info for info in self._memory.load() if not self.is_excluded(info))
            self._remembered = {info.uuid: info for info in infos}
        return self._remembered

    def _forget_replaced(self, uuids: Iterable[str]) -> None:
        """Forget GPUs of before; one that this agent has seen stays for as long as the agent runs."""
        for uuid in uuids:
            info = self._infos.pop(uuid)
            self._load().pop(uuid)
            self._index_of.pop(uuid, None)
            logger.info("GPU %d (%s) was replaced: as many GPUs are there as before", info.index, uuid)

    def _index(self, info: GpuInfo) -> int:
        """The index by which claims mean this GPU."""
        if info.uuid in self._index_of:
            return self._index_of[info.uuid]
        return NO_INDEX if info.index in self._index_of.values() else info.index

    def _with_claim_index(self, info: GpuInfo) -> GpuInfo:
        index = self._index(info)
        return replace(info, claim_index=None if index == info.index else index)

    def _report_moved(self, now: Mapping[str, int]) -> None:
        moved = {uuid: index for uuid, index in now.items() if self._index_of.get(uuid, index) != index}
        for uuid, index in moved.items():
            if self._moved.get(uuid) != index:
                logger.warning(
                    "GPU %s was GPU %d and is GPU %d now, since another is missing: a claim by index still "
                    "means the GPU of before; name UUIDs in engines.endpoints[].gpus",
                    uuid,
                    self._index_of[uuid],
                    index,
                )
        self._moved = moved
