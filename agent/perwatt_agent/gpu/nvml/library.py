"""NVML library of this process: started for each generation, shut down when no call is in flight."""

import contextlib

import pynvml

from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.errors import checked
from perwatt_agent.gpu.nvml.driver.shutdown_guard import ShutdownGuard
from perwatt_agent.gpu.nvml.gpu_identity import Identity
from perwatt_agent.gpu.nvml.identity_scan import IdentityScan
from perwatt_agent.gpu.nvml.inventory import NvmlInventory


class Library:
    """
    One generation after another, each from `start` to `stop`.

    NVML counts starts and needs as many shutdowns. While a call hangs, of whatever generation, shutdowns are
    put off; the first `stop` after the call has returned makes them.
    """

    def __init__(self) -> None:
        self._scan: IdentityScan[Identity] = IdentityScan()
        self._inventory: NvmlInventory | None = None
        self._starts = 0
        self._hung: list[ShutdownGuard] = []

    def start(self, context: Context) -> Generation:
        """Begin a generation; raises BackendUnavailable or BackendBroken, and then it is stopped."""
        checked("nvmlInit", pynvml.nvmlInit)
        self._starts += 1
        try:
            self._inventory = NvmlInventory(self._scan, context)
            return self._inventory.refresh()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """
        End the generation, if there is one, and shut NVML down, if no call hangs.

        When the driver is gone already the shutdown fails, which does no harm.
        """
        inventory, self._inventory = self._inventory, None
        if inventory is not None and not inventory.end():
            self._hung.append(inventory.guard)
        self._hung = [guard for guard in self._hung if guard.is_busy]
        while self._starts and not self._hung:
            self._starts -= 1
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
