"""
What is read of a GPU each second, in five driver calls: energy, power, what held it back and what went over
its links in one batch, then load, memory, the SM clock and the core's temperature. On Hopper and newer, two
more ask what its SMs did.

The graphics clock is not asked for: the SM clock shares its domain, and every call costs the driver.
"""

import ctypes
from typing import Any

import pynvml

from perwatt_agent.nvml import values
from perwatt_agent.nvml.direct import Direct
from perwatt_agent.nvml.facts import Asker, Call, Facts
from perwatt_agent.nvml.fields import MODULE, FieldFacts
from perwatt_agent.nvml.gpm import GpmReader
from perwatt_agent.nvml.mig import MigMode
from perwatt_agent.nvml.tables import POWER_AVERAGE, fast_fields
from perwatt_agent.nvml.tools import Tools
from perwatt_agent.nvml.traits import Traits
from perwatt_agent.snapshot import GpuReading


class FastReader:
    """Reads one GPU; utilisation only while it is whole, memory only where the driver owns it."""

    def __init__(self, asker: Asker, tools: Tools, traits: Traits, mode: MigMode, monitor: GpmReader) -> None:
        self._asker = asker
        self._clock = tools.clock
        self._usage_is_mean = traits.usage_is_mean
        self._mode = mode
        self._monitor = monitor
        self._fields = FieldFacts(fast_fields(traits, tools.options.detail), asker.failed)
        self._utilization = (utilization(),)
        self._calls = single_calls(has_memory=traits.numa_node is None)

    def read(self, handle: Any) -> GpuReading:
        """Raises GpuFailure and GenerationEnded."""
        facts = self._energy_and_power(handle)
        facts["monotonic_seconds"] = self._clock.monotonic()
        if not self._mode.enabled:
            facts |= self._asker.ask(handle, self._utilization)
        for alternatives in self._calls:
            facts |= self._asker.ask(handle, alternatives)
        facts |= self._monitor.read(handle)
        return GpuReading(**facts, failed_calls=dict(self._asker.failed))

    def _energy_and_power(self, handle: Any) -> Facts:
        facts = self._fields.read(handle)
        power = self._fields.chosen("power_watts")
        if power is None:
            facts |= self._asker.ask(handle, (power_usage,), vital=self._fields.exhausted)
        energy = self._fields.chosen("energy_joules")
        if energy is None:
            facts |= self._asker.ask(handle, (total_energy,))
        elif energy.scope == MODULE:
            facts["energy_source"] = "module"
        facts["power_is_mean"] = power.id == POWER_AVERAGE if power else self._usage_is_mean
        return facts


def power_usage(handle: Any) -> Facts:
    return {"power_watts": values.watts(pynvml.nvmlDeviceGetPowerUsage(handle))}


def total_energy(handle: Any) -> Facts:
    return {"energy_joules": values.joules(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))}


def utilization() -> Call:
    read = Direct("nvmlDeviceGetUtilizationRates", "=II", pynvml.c_nvmlUtilization_t())

    def utilization(handle: Any) -> Facts:
        gpu, memory = read(handle)
        return {"utilization_ratio": values.ratio(gpu), "memory_utilization_ratio": values.ratio(memory)}

    return utilization


def memory() -> Call:
    room = pynvml.c_nvmlMemory_v2_t(version=pynvml.nvmlMemory_v2)
    read = Direct("nvmlDeviceGetMemoryInfo_v2", "=8xQQ8xQ", room)

    def memory(handle: Any) -> Facts:
        total, reserved, used = read(handle)
        return {
            "memory_used_bytes": values.memory_bytes(used, total),
            "memory_total_bytes": values.memory_bytes(total, total),
            "memory_reserved_bytes": values.memory_bytes(reserved, total),
        }

    return memory


def memory_with_reserved(handle: Any) -> Facts:
    """The first version of the call, whose `used` holds what the driver reserves for itself."""
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    total = memory.total
    return {
        "memory_used_bytes": values.memory_bytes(memory.used, total),
        "memory_total_bytes": values.memory_bytes(total, total),
    }


def clock_sm() -> Call:
    clock = ctypes.c_uint(pynvml.NVML_CLOCK_SM)
    read = Direct("nvmlDeviceGetClockInfo", "=I", ctypes.c_uint(), clock)

    def clock_sm(handle: Any) -> Facts:
        (megahertz,) = read(handle)
        return {"clock_sm_hertz": values.hertz(megahertz)}

    return clock_sm


def temperature() -> Call:
    sensor = {"version": pynvml.nvmlTemperature_v1, "sensorType": pynvml.NVML_TEMPERATURE_GPU}
    read = Direct("nvmlDeviceGetTemperatureV", "=8xi", pynvml.c_nvmlTemperature_v1_t(**sensor))

    def temperature(handle: Any) -> Facts:
        (celsius,) = read(handle)
        return {"temperature_core_celsius": values.core_celsius(celsius)}

    return temperature


def temperature_of_older_drivers(handle: Any) -> Facts:
    """The call of older drivers; newer ones (CUDA 14) have it no more."""
    celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


def single_calls(*, has_memory: bool = True) -> tuple[tuple[Call, ...], ...]:
    """For one GPU: each row is one fact, the calls that can give it, best first."""
    of_memory = ((memory(), memory_with_reserved),) if has_memory else ()
    return (*of_memory, (clock_sm(),), (temperature(), temperature_of_older_drivers))
