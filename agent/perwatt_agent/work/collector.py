"""Collector of jobs that report their work, over HTTP or through text files."""

from collections.abc import Sequence

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.work.registry import WorkRegistry
from perwatt_agent.work.textfile_poller import TextfilePoller


class WorkCollector:
    """
    The registry of jobs, and the folder of text files if configured.

    A rejected report is counted by reason and does not fail the collector. Only the folder can.
    """

    def __init__(self, registry: WorkRegistry, textfiles: TextfilePoller | None = None) -> None:
        self._registry = registry
        self._textfiles = textfiles

    async def run(self) -> None:
        if self._textfiles is not None:
            await self._textfiles.run()

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        return self._registry.drain(known, samples)

    def health(self) -> CollectorHealth:
        rejections = self._registry.rejections
        if self._textfiles is None:
            return CollectorHealth("work", True, self._registry.last_report_unix_seconds, None, rejections)
        return self._textfiles.health(rejections)
