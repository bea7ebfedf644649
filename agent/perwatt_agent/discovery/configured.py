"""Configured endpoints, which take precedence over discovery."""

from collections.abc import Collection, Sequence

from msgspec import Struct

from perwatt_agent.discovery.search import DiscoveredEngine
from perwatt_agent.engine.gpu_claims import GpuSelector, instances, selected
from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.net.page_identity import page_identity


class ConfiguredEndpoints(Struct, frozen=True):
    """
    Ports and GPUs that the configuration reserves.

    `pages` are the addresses of the configured pages, as `PageIdentity.address`; `ports` the ports of those
    on this machine, and `exclusive` the GPU claims that are not shared.
    """

    ports: frozenset[int] = frozenset()
    exclusive: tuple[GpuSelector, ...] = ()
    pages: frozenset[tuple[str, int]] = frozenset()

    def reason_to_skip(
        self, found: DiscoveredEngine, known: Sequence[GpuInfo], migs: Collection[str] = ()
    ) -> str:
        """
        Return why discovery must skip *found*; empty if it need not.

        *migs* are the MIG instances in which its processes compute.
        """
        ports = {candidate.listener.port for candidate in found.candidates} or {found.expected_port}
        if not ports.isdisjoint(self.ports):
            return "its page is configured"
        return self.claim_on(found.gpus, known, migs)

    def claim_on(self, gpus: Sequence[str], known: Sequence[GpuInfo], migs: Collection[str] = ()) -> str:
        """Return a text that names a GPU or instance which an endpoint claims alone; empty if none."""
        claimed = {uuid for selector in self.exclusive for uuid in selected(selector, known)}
        taken = [f"GPU {info.index}" for info in known if info.uuid in claimed and info.uuid in gpus]
        in_parts = {mig for selector in self.exclusive for mig in instances(selector)}
        taken += sorted(in_parts.intersection(migs))
        return f"{taken[0]} is claimed by a configured endpoint that does not share it" if taken else ""

    def page_at(self, url: str) -> str:
        """Return a text if the page at *url* is configured; empty if not."""
        return "its page is configured" if page_identity(url).address in self.pages else ""
