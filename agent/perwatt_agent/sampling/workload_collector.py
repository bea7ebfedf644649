"""Workload collector: a source of workload counters, and of the GPUs that workloads use."""

from collections.abc import Sequence
from typing import Protocol

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth


class WorkloadCollector(Protocol):
    """
    A source of engine samples, at its own pace.

    `run` works until it is cancelled, and must not raise when the other side fails. `drain` is called once a
    collection cycle, on the same loop, with the known GPUs and their samples of this cycle. It returns what
    was received since, and claims on GPUs where they changed.
    """

    async def run(self) -> None: ...

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]: ...

    def health(self) -> CollectorHealth: ...
