"""Context of the readers: what all GPUs of a machine share."""

from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.driver.dcgm import DcgmDetector
from perwatt_agent.gpu.nvml.driver.traits import Options


class Context:
    """The clock, the operator's options, sysfs, and whether DCGM is running."""

    def __init__(self, clock: Clock, options: Options, dcgm: DcgmDetector, sysfs: Path) -> None:
        self.clock = clock
        self.options = options
        self.sysfs = sysfs
        self._dcgm = dcgm

    def may_use_gpm(self) -> bool:
        """Whether GPM may be used now; with `auto`, not beside DCGM and not with `detail: core`."""
        if self.options.gpm == "auto":
            return self.options.detail == "full" and not self._dcgm.is_running()
        return self.options.gpm == "on"
