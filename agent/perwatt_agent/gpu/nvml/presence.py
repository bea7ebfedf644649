"""Presence of GPUs: which GPUs of a generation the driver still lists."""

from perwatt_agent.gpu.backend import GenerationEnded
from perwatt_agent.gpu.nvml.driver.shutdown_guard import ShutdownGuard


class Presence:
    """
    Shared by all GPUs of a generation, as is its shutdown guard.

    Once the generation has `ended`, objects that were made in the driver are void and must not be freed.
    """

    def __init__(self, guard: ShutdownGuard) -> None:
        self.guard = guard
        self.ended = False
        self._known: set[str] = set()
        self._missing: set[str] = set()

    def set_present(self, uuid: str) -> None:
        self._known.add(uuid)
        self._missing.discard(uuid)

    def set_missing(self, uuid: str) -> None:
        """Raises GenerationEnded when the driver lists none of them any more."""
        self._missing.add(uuid)
        if self._missing >= self._known:
            self.ended = True
            raise GenerationEnded("the driver knows none of its GPUs any more")
