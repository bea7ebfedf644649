"""A discovery collector over real processes, looked at round by round, and what it has told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from perwatt.run.discovery import engine_kinds
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig, EnginesConfig
from perwatt_agent.discovery.collector import DiscoveryCollector
from perwatt_agent.discovery.configured import ConfiguredEndpoints
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.engine.custom_kind import CustomKind
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.identity.identity import Identity
from perwatt_agent.identity.workload_names import WorkloadNames
from support.accounts.readings import info

GPUS = tuple(info(index) for index in range(4))
OUTPUT_TOKENS = 4585.0
"""What the page in engine_trees says."""

Accept = Callable[[list[EngineSample]], bool]


class Somebody:
    """Says of every process the same."""

    def __init__(self, identity: Identity = Identity()) -> None:  # noqa: B008 - it is frozen
        self.identity = identity
        self.pending = False

    def identify(self, pid: int | None, gpus: Sequence[GpuInfo] = ()) -> Identity:
        return self.identity


class Watched:
    """A collector, and what it has told."""

    def __init__(self, collector: DiscoveryCollector) -> None:
        self.collector = collector
        self.told: list[EngineSample] = []

    async def round(self, gpu_processes: Mapping[int, Sequence[int]] | None = None, mig: str = "") -> None:
        """Let the driver name its processes, where it does, all in the instance *mig*, and look once."""
        samples = [
            GpuSample(
                info(gpu).uuid,
                "ok",
                slow=GpuSlowReading(0.0, processes=tuple(GpuProcess(pid, mig=mig) for pid in pids)),
            )
            for gpu, pids in (gpu_processes or {}).items()
        ]
        self.told += self.collector.drain(GPUS, samples)
        await self.collector.round()
        self.told += self.collector.drain(GPUS, [])

    async def until(self, accept: Accept) -> None:
        """Sweep until what was told is as it should be."""

        async def sweep() -> None:
            while not accept(self.told):
                self.told += self.collector.drain(GPUS, [])
                await asyncio.sleep(0.01)

        await asyncio.wait_for(sweep(), 30.0)

    async def rounds_until(self, accept: Accept) -> None:
        """Look again and again, until what was told is as it should be."""

        async def look() -> None:
            while not accept(self.told):
                await self.round()
                await asyncio.sleep(0.05)

        await asyncio.wait_for(look(), 30.0)

    def tokens(self) -> dict[str, float | None]:
        """The tokens that each workload has told of."""
        return {sample.info.workload: sample.counts.output_tokens for sample in self.told if sample.counts}

    def claims(self) -> dict[str, tuple[str, ...]]:
        """The GPUs that each workload has claimed last."""
        return {sample.info.workload: sample.gpus for sample in self.told}

    def ended(self) -> list[str]:
        return [sample.info.workload for sample in self.told if sample.ended]


@asynccontextmanager
async def watching(
    configured: ConfiguredEndpoints = ConfiguredEndpoints(),  # noqa: B008 - it is frozen
    identifier: Somebody | None = None,
    root: Path = Path("/proc"),
    given: Sequence[str] = (),
    own: Sequence[CustomKind] = (),
) -> AsyncIterator[Watched]:
    kinds = AgentConfig(engines=EnginesConfig(kinds=tuple(own)))
    collector = DiscoveryCollector(
        ProcessTable(root),
        identifier or Somebody(),
        WorkloadNames(given),
        configured,
        SystemClock(),
        interval_seconds=0.05,
        kinds=engine_kinds(kinds),
    )
    try:
        yield Watched(collector)
    finally:
        collector.close()


def has_tokens(told: list[EngineSample]) -> bool:
    return any(sample.counts for sample in told)
