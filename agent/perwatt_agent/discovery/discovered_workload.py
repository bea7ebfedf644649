"""Workload of a discovered engine: polls its page, and reports its GPUs and processes."""

import asyncio
import logging
from collections.abc import Sequence

from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.discovery.probe import DiscoveredReader
from perwatt_agent.discovery.search import DiscoveredEngine
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.facts.workload import WorkloadInfo

logger = logging.getLogger(__name__)


class DiscoveredWorkload:
    """
    Polls *reader* every *interval_seconds*, and reports its samples as those of the workload *info*.

    Its GPUs and processes are those of the newest search; a change is reported without a page too. It must be
    made in a running loop.
    """

    def __init__(
        self, info: WorkloadInfo, port: int, reader: DiscoveredReader, clock: Clock, interval_seconds: float
    ) -> None:
        self.info = info
        self._reader = reader
        self._clock = clock
        self._poller = EndpointPoller(Endpoint(info, port, (), reader), clock, interval_seconds)
        self._polling = asyncio.create_task(self._poller.run())
        self._reported: EngineSample | None = None
        self._uncovered = 0

    def drain(self, found: DiscoveredEngine, known: Sequence[GpuInfo]) -> list[EngineSample]:
        """Return what was received since the last call, and the claim if it changed."""
        claim = self._claim(found)
        received = [sample for sample in self._poller.drain(known) if sample.counts or sample.failure]
        if not received and claim != self._reported:
            received = [replace(claim, monotonic_seconds=self._clock.monotonic())]
        self._reported = claim
        return [
            replace(
                claim,
                monotonic_seconds=sample.monotonic_seconds,
                unix_seconds=sample.unix_seconds or self._clock.unix(),
                counts=sample.counts,
                failure=sample.failure,
            )
            for sample in received
        ]

    def end(self) -> EngineSample:
        """Return the sample that ends the workload."""
        return EngineSample(self._named(), (), self._clock.monotonic(), self._clock.unix(), ended=True)

    def stop(self) -> None:
        """Stop polling."""
        self._polling.cancel()

    def health(self) -> CollectorHealth:
        return self._poller.health.snapshot()

    def _claim(self, found: DiscoveredEngine) -> EngineSample:
        return EngineSample(
            self._named(),
            found.gpus,
            0.0,
            0.0,
            missing_gpus=self._missing(found),
            pids=tuple(process.pid for process in found.members),
            pid_starts=tuple(process.started_seconds for process in found.members),
        )

    def _missing(self, found: DiscoveredEngine) -> int | None:
        """Return how many GPUs it lacks of those that its page counts; None until its page is up."""
        if found.requested is None or self._reader.page is None:
            return None
        ranks = self._reader.page.reader.ranks
        uncovered = found.requested.uncovered(len(found.gpus), ranks)
        if uncovered and uncovered != self._uncovered:
            logger.warning(
                "%s: its page counts %d of %d data-parallel ranks, so %d of its GPUs have no tokens and its "
                "figures are not valid; add the page of each rank to engines.endpoints, with its own `gpus`",
                self.info.workload,
                ranks,
                found.requested.ranks,
                uncovered,
            )
        self._uncovered = uncovered
        return found.requested.missing(len(found.gpus), ranks)

    def _named(self) -> WorkloadInfo:
        return replace(self.info, engine=self._reader.engine, role=self._reader.role or self.info.role)
