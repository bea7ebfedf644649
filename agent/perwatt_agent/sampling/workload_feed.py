"""What tells of workloads: their counts, and the GPUs that they hold."""

from collections.abc import Sequence
from typing import Protocol

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth


class Feed(Protocol):
    """
    A source of engine samples beside the GPUs, at its own pace.

    `run` works until it is cancelled and must not raise for what others do wrong. `drain` is called
    once a sweep, on the same loop, with the GPUs known and their samples of this sweep; it returns what
    was heard since, and claims on GPUs where they changed. `health` tells how the feed fares.
    """

    async def run(self) -> None: ...

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]: ...

    def health(self) -> CollectorHealth: ...
