"""What the configuration has taken, which discovery leaves alone."""

from collections.abc import Sequence

from msgspec import Struct

from perwatt_agent.discovery.search import Found
from perwatt_agent.engine.titles import GpuSelector, selected
from perwatt_agent.snapshot import GpuInfo


class Configured(Struct, frozen=True):
    """
    The pages on this machine that are configured, by port, and the GPUs that are claimed and not shared.
    """

    ports: frozenset[int] = frozenset()
    exclusive: tuple[GpuSelector, ...] = ()

    def objection(self, found: Found, known: Sequence[GpuInfo]) -> str:
        """Why *found* is the configuration's business; empty where it is not."""
        ports = {candidate.listener.port for candidate in found.candidates} or {found.expected_port}
        if not ports.isdisjoint(self.ports):
            return "its page is configured"
        claimed = {uuid for selector in self.exclusive for uuid in selected(selector, known)}
        taken = [info.index for info in known if info.uuid in claimed and info.uuid in found.gpus]
        return f"GPU {taken[0]} is claimed by a configured endpoint that does not share it" if taken else ""
