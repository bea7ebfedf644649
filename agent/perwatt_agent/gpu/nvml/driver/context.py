"""Context of the readers: what all GPUs of a machine share."""

import logging
from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.nvml.driver.dcgm import DcgmDetector
from perwatt_agent.gpu.nvml.driver.traits import Options

logger = logging.getLogger(__name__)


class Context:
    """The clock, the operator's options, sysfs, and whether DCGM is running."""

    def __init__(self, clock: Clock, options: Options, dcgm: DcgmDetector, sysfs: Path) -> None:
        self.clock = clock
        self.options = options
        self.sysfs = sysfs
        self._dcgm = dcgm
        self._warned: set[str] = set()

    def may_use_gpm(self) -> bool:
        """Whether GPM may be used now; with `auto`, not beside DCGM and not with `detail: core`."""
        if self.options.gpm == "auto":
            return self.options.detail == "full" and not self._dcgm.is_running()
        return self.options.gpm == "on"

    def warn_once(self, message: str) -> None:
        """Log what holds for every GPU of this driver, once and not for each of them."""
        if message not in self._warned:
            self._warned.add(message)
            logger.warning("%s", message)
