"""
What is read of a GPU each second, in five driver calls: energy, power, what held it back and what went over
its links in one batch, then load, memory, the SM clock and the core's temperature. On Hopper and newer, two
more ask what its SMs did.

The graphics clock is not asked for: the SM clock shares its domain, and every call costs the driver.
"""

from typing import Any

import pynvml

from perwatt_agent.nvml import values
from perwatt_agent.nvml.facts import Asker, Call, Facts
from perwatt_agent.nvml.fields import MODULE, FieldFacts, nested
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
        self._calls = SINGLE_CALLS if traits.numa_node is not None else (MEMORY, *SINGLE_CALLS)

    def read(self, handle: Any) -> GpuReading:
        """Raises GpuFailure and GenerationEnded."""
        facts = self._energy_and_power(handle)
        facts["monotonic_seconds"] = self._clock.monotonic()
        if not self._mode.enabled:
            facts |= self._asker.ask(handle, (utilization,))
        for alternatives in self._calls:
            facts |= self._asker.ask(handle, alternatives)
        facts |= self._monitor.read(handle)
        return GpuReading(**nested(facts), failed_calls=dict(self._asker.failed))

    def _energy_and_power(self, handle: Any) -> Facts:
        facts: Facts = dict(self._fields.read(handle))
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


def utilization(handle: Any) -> Facts:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return {
        "utilization_ratio": values.ratio(rates.gpu),
        "memory_utilization_ratio": values.ratio(rates.memory),
    }


def memory(handle: Any) -> Facts:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return {**_memory(memory), "memory_reserved_bytes": values.memory_bytes(memory.reserved, memory.total)}


def memory_with_reserved(handle: Any) -> Facts:
    """The first version of the call, whose `used` holds what the driver reserves for itself."""
    return _memory(pynvml.nvmlDeviceGetMemoryInfo(handle))


def _memory(memory: Any) -> Facts:
    return {
        "memory_used_bytes": values.memory_bytes(memory.used, memory.total),
        "memory_total_bytes": values.memory_bytes(memory.total, memory.total),
    }


def clock_sm(handle: Any) -> Facts:
    return {"clock_sm_hertz": values.hertz(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))}


def temperature(handle: Any) -> Facts:
    celsius = pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


def temperature_of_older_drivers(handle: Any) -> Facts:
    """The call of older drivers; newer ones (CUDA 14) have it no more."""
    celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


# Each row is one fact: the calls that can give it, best first.
MEMORY: tuple[Call, ...] = (memory, memory_with_reserved)
SINGLE_CALLS: tuple[tuple[Call, ...], ...] = (
    (clock_sm,),
    (temperature, temperature_of_older_drivers),
)
