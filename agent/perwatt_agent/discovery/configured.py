"""What the configuration has taken, which discovery leaves alone."""

from collections.abc import Collection, Sequence

from msgspec import Struct

from perwatt_agent.discovery.search import DiscoveredEngine
from perwatt_agent.engine.gpu_claims import GpuSelector, instances, selected
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.net.http_client import Target


class ConfiguredEndpoints(Struct, frozen=True):
    """
    The pages that are configured, by host and port, those on this machine by port too, and the GPUs that
    are claimed and not shared.
    """

    ports: frozenset[int] = frozenset()
    exclusive: tuple[GpuSelector, ...] = ()
    pages: frozenset[tuple[str, int]] = frozenset()

    def objection(self, found: DiscoveredEngine, known: Sequence[GpuInfo], migs: Collection[str] = ()) -> str:
        """
        Why *found* is the configuration's business; empty where it is not.

        *migs* are the MIG instances in which its processes compute.
        """
        ports = {candidate.listener.port for candidate in found.candidates} or {found.expected_port}
        if not ports.isdisjoint(self.ports):
            return "its page is configured"
        return self.claim_on(found.gpus, known, migs)

    def claim_on(self, gpus: Sequence[str], known: Sequence[GpuInfo], migs: Collection[str] = ()) -> str:
        """Which of *gpus*, or of *migs* of them, an endpoint has for itself, in words; empty for none."""
        claimed = {uuid for selector in self.exclusive for uuid in selected(selector, known)}
        taken = [f"GPU {info.index}" for info in known if info.uuid in claimed and info.uuid in gpus]
        in_parts = {mig for selector in self.exclusive for mig in instances(selector)}
        taken += sorted(in_parts.intersection(migs))
        return f"{taken[0]} is claimed by a configured endpoint that does not share it" if taken else ""

    def page_at(self, url: str) -> str:
        """Whether the page at *url* is configured, in words; empty where it is not."""
        target = Target.of(url)
        return "its page is configured" if (target.host, target.port) in self.pages else ""
