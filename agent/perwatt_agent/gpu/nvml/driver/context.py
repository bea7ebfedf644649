"""What every GPU of a machine is read with."""

from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.driver.dcgm import HostEngineWatch
from perwatt_agent.gpu.nvml.driver.traits import Options


class Tools:
    """The clock, the operator's options, and the parts of the machine that the driver does not tell of."""

    def __init__(self, clock: Clock, options: Options, host_engine: HostEngineWatch, sysfs: Path) -> None:
        self.clock = clock
        self.options = options
        self.sysfs = sysfs
        self._host_engine = host_engine

    def may_monitor(self) -> bool:
        """Whether GPM may be used now; left to itself, it gives way to DCGM, and to `detail: core`."""
        if self.options.gpm == "auto":
            return self.options.detail == "full" and not self._host_engine.found()
        return self.options.gpm == "on"
