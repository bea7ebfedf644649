"""Collector of all configured engines: their pages, and the GPU claims of followers."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from perwatt_agent.engine.deduplication import FrontendDeduplicator
from perwatt_agent.engine.endpoint_poller import EndpointPoller
from perwatt_agent.engine.followers import FollowerClaims
from perwatt_agent.engine.gpu_claims import GpuClaims
from perwatt_agent.engine.shared_pages import PairMemory, SharedPages
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import EngineSample, GpuSample
from perwatt_agent.facts.snapshot import CollectorHealth


class EngineCollector:
    """
    Polls a fixed set of endpoints, and reports the GPU claims of *claims*.

    *gpu_claims* are the claims that both of them use, *pair_memory* keeps which pages are one page.
    """

    def __init__(
        self,
        pollers: Sequence[EndpointPoller],
        claims: FollowerClaims | None = None,
        gpu_claims: GpuClaims | None = None,
        pair_memory: PairMemory | None = None,
    ) -> None:
        self._pollers = tuple(pollers)
        self._claims = claims
        self._gpu_claims = gpu_claims or GpuClaims()
        self._deduplicator = FrontendDeduplicator()
        self._shared_pages = SharedPages([poller.url for poller in pollers], pair_memory)

    async def run(self) -> None:
        await asyncio.gather(*(poller.run() for poller in self._pollers))

    def drain(self, known: Sequence[GpuInfo], samples: Sequence[GpuSample]) -> list[EngineSample]:
        self._gpu_claims.update(samples)
        marked = self._shared_pages.mark([poller.drain(known) for poller in self._pollers])
        return self._deduplicator.deduplicate(marked) + (self._claims.drain(known) if self._claims else [])

    def health(self) -> CollectorHealth:
        return merged([poller.health.snapshot() for poller in self._pollers])


def merged(healths: Sequence[CollectorHealth]) -> CollectorHealth:
    """Return the health of all engines as one collector, which succeeds if every page does."""
    failures: Counter[str] = Counter()
    for health in healths:
        failures.update(dict(health.failures))
    successes = [health.last_success_unix_seconds for health in healths]
    durations = [health.duration_seconds for health in healths if health.duration_seconds is not None]
    return CollectorHealth(
        "engines",
        all(health.success for health in healths),
        None
        if None in successes
        else min((success for success in successes if success is not None), default=None),
        max(durations, default=None),
        tuple(sorted(failures.items())),
    )
