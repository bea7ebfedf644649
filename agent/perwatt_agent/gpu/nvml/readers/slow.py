"""
Slow reader: what is read of a GPU every 10 to 15 seconds.

That is limits, health, links, modes, MIG instances and compute processes.
"""

from typing import Any

import pynvml

from perwatt_agent.facts.ecc import EccCount
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Call, ConstantFacts, Facts, GpuCalls
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.fields import FieldReader, nested
from perwatt_agent.gpu.nvml.driver.traits import Traits
from perwatt_agent.gpu.nvml.readers.details import (
    ONCE_CALLS,
    SLOW_CALLS,
    THRESHOLD_CALLS,
    WHOLE_GPU_CALLS,
    Fans,
    clock_memory,
    without_power_cap,
)
from perwatt_agent.gpu.nvml.readers.memory_health import remap_banks, sram_errors
from perwatt_agent.gpu.nvml.readers.mig import MigMode, MigReader
from perwatt_agent.gpu.nvml.readers.os_memory import node_memory
from perwatt_agent.gpu.nvml.readers.processes import (
    ComputeProcesses,
    GraphicsProcesses,
    ProcessLoad,
    heaviest,
    with_load,
)
from perwatt_agent.gpu.nvml.readers.tables import ECC_PLACES, slow_fields
from perwatt_agent.gpu.nvml.readers.vgpu import Virtualization

# The calls that list processes, and the same for a single MIG instance.
_LISTING = {"compute_processes", "processes_of_all", "processes_of_each", "mig_processes"}
NO_PROCESSES = (
    "the NVIDIA driver does not list the processes that compute (on a guest with a virtual GPU it never "
    "does): engines are not discovered, and the energy of a GPU with several workloads is split equally; "
    "update the driver to 510 or later, and configure engines.endpoints"
)


class SlowReader:
    """Reads one GPU: a batch of fields, the limits that the batch lacks, and all else call by call."""

    def __init__(
        self, calls: GpuCalls, context: Context, traits: Traits, mode: MigMode, mig: MigReader
    ) -> None:
        self._calls = calls
        self._context = context
        self._numa_node = traits.numa_node
        self._caps_unknown = not traits.reports_power_caps
        self._mode = mode
        self._mig = mig
        self._fields = FieldReader(slow_fields(traits, context.options.detail), calls)
        self._once = ConstantFacts(calls, ONCE_CALLS)
        self._thresholds = ConstantFacts(calls, THRESHOLD_CALLS)
        self._fans = Fans(calls)
        self._virtualization = Virtualization(calls)
        self._list_processes = ComputeProcesses(traits.driver).compute_processes
        self._graphics = GraphicsProcesses(traits.driver)
        self._list_graphics = self._graphics.graphics_processes
        self._read_load = ProcessLoad().process_utilization

    def read(self, handle: Any) -> GpuSlowReading:
        """Raises GpuFailure and GenerationEnded."""
        self._calls.reset_if_due()
        facts = self._mig.read(handle)  # first: with MIG on or off a GPU supports different calls
        facts |= self._fields.read(handle)
        for fact, call in LIMIT_CALLS.items():
            if fact not in self._fields.best:
                facts |= self._calls.first(handle, call)
        facts |= self._details(handle, has_ecc=facts.get("ecc_enabled") is True)
        facts |= self._processes(handle)
        facts["ecc_errors"] = tuple(
            EccCount(*place, facts.pop(fact)) for fact, place in ECC_PLACES.items() if fact in facts
        )
        return GpuSlowReading(monotonic_seconds=self._context.clock.monotonic(), **nested(facts))

    def _details(self, handle: Any, *, has_ecc: bool) -> Facts:
        if self._context.options.detail == "core":
            return self._calls.first(handle, clock_memory)
        facts: Facts = {}
        for alternatives in SLOW_CALLS if self._mode.enabled else (*SLOW_CALLS, *WHOLE_GPU_CALLS):
            facts |= self._calls.first(handle, *alternatives)
        facts |= self._calls.first(handle, remap_banks)
        if has_ecc:  # a GeForce board of Ada counts 0 errors, because it cannot find one
            facts |= self._calls.first(handle, sram_errors)
        facts |= self._once.read(handle) | self._fans.read(handle) | self._virtualization.read(handle)
        if self._caps_unknown and facts.get("throttle_reasons") is not None:
            facts |= without_power_cap(facts["throttle_reasons"])
        if "temperature_margins_celsius.slowdown" not in self._fields.best:
            facts |= self._thresholds.read(handle)
        if self._numa_node is not None:
            facts |= node_memory(self._context.sysfs, self._numa_node)
        return facts

    def _processes(self, handle: Any) -> Facts:
        if self._mode.enabled:
            found = self._mig.processes(handle)
        else:
            found = self._calls.first(handle, self._list_processes)
        if "processes" not in found and not self._calls.failed.keys() & _LISTING:
            self._context.warn_once(NO_PROCESSES)
        if "processes" in found and not self._mode.enabled:
            found = {"processes": self._with_use(handle, found["processes"])}
        if found and (count := self._context.options.top_processes):
            found["top_processes"] = heaviest(found["processes"], count)
        return found

    def _with_use(self, handle: Any, processes: tuple[GpuProcess, ...]) -> tuple[GpuProcess, ...]:
        """Add what each process does: its SM utilization, and whether it draws."""
        is_new = self._graphics.is_needed(processes)
        if not processes:
            return ()
        graphics = self._calls.first(handle, self._list_graphics) if is_new else {}
        processes = self._graphics.marked(processes, graphics)
        load = self._calls.first(handle, self._read_load)
        return with_load(processes, load["sm_ratios"]) if load else processes


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
