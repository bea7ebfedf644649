"""What is read of a GPU every 10 to 15 seconds: its power limits, and which processes compute on it."""

from typing import Any

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.nvml import values
from perwatt_agent.nvml.facts import Asker, Call, Facts
from perwatt_agent.nvml.fields import SLOW_FIELDS, FieldFacts
from perwatt_agent.nvml.processes import ProcessLoad, compute_processes, with_load
from perwatt_agent.snapshot import GpuSlowReading


class SlowReader:
    """Reads one GPU: a batch of limits, single calls for those that it did not give, the processes."""

    def __init__(self, asker: Asker, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock
        self._fields = FieldFacts(SLOW_FIELDS)
        self._read_load = ProcessLoad().process_utilization

    def read(self, handle: Any) -> GpuSlowReading:
        """Raises GpuFailure and GenerationEnded."""
        facts: Facts = dict(self._fields.read(handle))
        for fact, call in LIMIT_CALLS.items():
            if self._fields.chosen(fact) is None:
                facts |= self._asker.ask(handle, (call,))
        facts |= self._processes(handle)
        return GpuSlowReading(monotonic_seconds=self._clock.monotonic(), **facts)

    def _processes(self, handle: Any) -> Facts:
        found = self._asker.ask(handle, (compute_processes,))
        if not found.get("processes"):
            return found
        load = self._asker.ask(handle, (self._read_load,))
        return {"processes": with_load(found["processes"], load["sm_ratios"])} if load else found


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


# fact -> the call that gives it where the batch does not.
LIMIT_CALLS: dict[str, Call] = {
    "power_limit_watts": limit_enforced,
    "power_limit_default_watts": limit_default,
    "power_limit_min_watts": limit_range,
}
