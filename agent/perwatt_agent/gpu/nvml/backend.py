"""NVML backend: NVIDIA GPUs."""

from pathlib import Path
from typing import TYPE_CHECKING

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.dcgm import DcgmDetector
from perwatt_agent.gpu.nvml.driver.traits import Options

if TYPE_CHECKING:
    from perwatt_agent.gpu.nvml.library import Library


class NvmlBackend:
    """
    Reads the GPUs of this machine through the NVIDIA driver.

    A generation lasts from `open` to `close`. After GenerationEnded, close and open again: static facts
    are read anew, and so is what each GPU gives.
    """

    name = "nvml"

    def __init__(
        self,
        clock: Clock,
        options: Options | None = None,
        *,
        proc: Path = Path("/proc"),
        sysfs: Path = Path("/sys"),
    ) -> None:
        self._context = Context(clock, options or Options(), DcgmDetector(proc, clock), sysfs)
        self._library: Library | None = None

    def open(self) -> Generation:
        """Raises BackendUnavailable while there is no driver, BackendBroken when only a new process helps."""
        # Here, so that a process that never opens NVML does not pay 6 MiB for its binding.
        from perwatt_agent.gpu.nvml.library import Library

        self.close()
        self._library = self._library or Library()
        return self._library.start(self._context)

    def close(self) -> None:
        """End the generation, if there is one; the driver is not shut down under a call that hangs in it."""
        if self._library is not None:
            self._library.stop()
