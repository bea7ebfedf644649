"""The driver's library in this process: started for each generation, and shut down when nobody is inside."""

import contextlib

import pynvml

from perwatt_agent.gpu.backend import Generation
from perwatt_agent.gpu.nvml.driver.context import Tools
from perwatt_agent.gpu.nvml.driver.errors import checked
from perwatt_agent.gpu.nvml.driver.gate import Gate
from perwatt_agent.gpu.nvml.gpu_identity import Identity
from perwatt_agent.gpu.nvml.identify import RollCall
from perwatt_agent.gpu.nvml.inventory import Census


class Library:
    """
    One generation after another, each from `start` to `stop`.

    The driver counts starts. While a call hangs in it, of whatever generation, shutting down is owed; it is
    made up for with the first `stop` after that call has returned.
    """

    def __init__(self) -> None:
        self._roll_call: RollCall[Identity] = RollCall()
        self._census: Census | None = None
        self._starts = 0
        self._hung: list[Gate] = []

    def start(self, tools: Tools) -> Generation:
        """Begin a generation; raises BackendUnavailable or BackendBroken, and then it is stopped."""
        checked("nvmlInit", pynvml.nvmlInit)
        self._starts += 1
        try:
            self._census = Census(self._roll_call, tools)
            return self._census.call()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """
        End the generation, if there is one, and shut the driver down, if no call hangs in it.

        A driver that is gone already cannot be shut down, which is just as well.
        """
        census, self._census = self._census, None
        if census is not None and not census.end():
            self._hung.append(census.gate)
        self._hung = [gate for gate in self._hung if gate.busy]
        while self._starts and not self._hung:
            self._starts -= 1
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
