"""What is read of a GPU every 10 to 15 seconds: its power limits, and how many processes compute on it."""

from typing import Any

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.nvml import values
from perwatt_agent.nvml.facts import Asker, Call, Facts
from perwatt_agent.nvml.fields import SLOW_FIELDS, FieldFacts
from perwatt_agent.snapshot import GpuProcess, GpuSlowReading


class SlowReader:
    """Reads one GPU: a batch of limits, single calls for those that it did not give, the processes."""

    def __init__(self, asker: Asker, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock
        self._fields = FieldFacts(SLOW_FIELDS)

    def read(self, handle: Any) -> GpuSlowReading:
        """Raises GpuFailure and GenerationEnded."""
        facts: Facts = dict(self._fields.read(handle))
        for fact, call in LIMIT_CALLS.items():
            if self._fields.chosen(fact) is None:
                facts |= self._asker.ask(handle, (call,))
        facts |= self._asker.ask(handle, (compute_processes,))
        return GpuSlowReading(monotonic_seconds=self._clock.monotonic(), **facts)


def limit_enforced(handle: Any) -> Facts:
    return {"power_limit_watts": values.limit_watts(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))}


def limit_default(handle: Any) -> Facts:
    milliwatts = pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)
    return {"power_limit_default_watts": values.limit_watts(milliwatts)}


def limit_range(handle: Any) -> Facts:
    minimum, maximum = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
    return {
        "power_limit_min_watts": values.limit_watts(minimum),
        "power_limit_max_watts": values.limit_watts(maximum),
    }


def compute_processes(handle: Any) -> Facts:
    # By its version: the unversioned name raises another exception where the driver lacks it.
    found = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    return {"processes": tuple(GpuProcess(int(process.pid), process.usedGpuMemory) for process in found)}


# fact -> the call that gives it where the batch does not.
LIMIT_CALLS: dict[str, Call] = {
    "power_limit_watts": limit_enforced,
    "power_limit_default_watts": limit_default,
    "power_limit_min_watts": limit_range,
}
