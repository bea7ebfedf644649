"""The GPU backend over NVML."""

from typing import TYPE_CHECKING

from perwatt_agent.backend import Generation
from perwatt_agent.clock import Clock

if TYPE_CHECKING:
    from perwatt_agent.nvml.library import Library


class NvmlBackend:
    """
    Reads the GPUs of this machine through the NVIDIA driver.

    A generation lasts from `open` to `close`. After GenerationEnded, close and open again: static facts
    are read anew, and so is what each GPU gives.
    """

    name = "nvml"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._library: Library | None = None

    def open(self) -> Generation:
        """Raises BackendUnavailable while there is no driver, BackendBroken when only a new process helps."""
        # Here, so that a process that never opens NVML does not pay 6 MiB for its binding.
        from perwatt_agent.nvml.library import Library

        self.close()
        library = Library()
        generation = library.start(self._clock)
        self._library = library
        return generation

    def close(self) -> None:
        """End the generation, if there is one; never while a call on one of its devices is in flight."""
        if self._library is not None:
            self._library.stop()
            self._library = None
