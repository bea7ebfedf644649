"""The GPU backend over NVML."""

from perwatt_agent.backend import Generation
from perwatt_agent.clock import Clock


class NvmlBackend:
    """
    Reads the GPUs of this machine through the NVIDIA driver.

    A generation lasts from `open` to `close`. After GenerationEnded, close and open again: static facts
    are read anew, and so is what each GPU gives.
    """

    name = "nvml"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = False

    def open(self) -> Generation:
        """Raises BackendUnavailable while there is no driver, BackendBroken when only a new process helps."""
        # Here, so that a process that never opens NVML does not pay 6 MiB for its binding.
        from perwatt_agent.nvml import library

        self.close()
        generation = library.start(self._clock)
        self._started = True
        return generation

    def close(self) -> None:
        """End the generation, if there is one; never while a call on one of its devices is in flight."""
        if not self._started:
            return
        from perwatt_agent.nvml import library

        self._started = False
        library.stop()
