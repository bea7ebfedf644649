"""
What is read of a GPU each second, in six driver calls: energy, power and memory temperature in one batch,
then load, memory, two clocks and the core's temperature.

The graphics clock is not asked for: the SM clock shares its domain, and every call costs the driver.
"""

from typing import Any

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.nvml import values
from perwatt_agent.nvml.facts import Asker, Call, Facts
from perwatt_agent.nvml.fields import FAST_FIELDS, MODULE, POWER_AVERAGE, FieldFacts
from perwatt_agent.snapshot import GpuReading


class FastReader:
    """
    Reads one GPU.

    `usage_is_mean` says what nvmlDeviceGetPowerUsage means on this architecture; it is asked only where the
    batch does not give power.
    """

    def __init__(self, asker: Asker, clock: Clock, *, usage_is_mean: bool) -> None:
        self._asker = asker
        self._clock = clock
        self._usage_is_mean = usage_is_mean
        self._fields = FieldFacts(FAST_FIELDS)

    def read(self, handle: Any) -> GpuReading:
        """Raises GpuFailure and GenerationEnded."""
        facts = self._energy_and_power(handle)
        facts["monotonic_seconds"] = self._clock.monotonic()
        for alternatives in SINGLE_CALLS:
            facts |= self._asker.ask(handle, alternatives)
        return GpuReading(**facts, failed_calls={**self._asker.failed, **self._fields.failed})

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
    return {"utilization_ratio": values.ratio(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)}


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


def clock_memory(handle: Any) -> Facts:
    return {"clock_memory_hertz": values.hertz(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))}


def temperature(handle: Any) -> Facts:
    celsius = pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


def temperature_of_older_drivers(handle: Any) -> Facts:
    """The call of older drivers; newer ones (CUDA 14) have it no more."""
    celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


# Each row is one fact: the calls that can give it, best first.
SINGLE_CALLS: tuple[tuple[Call, ...], ...] = (
    (utilization,),
    (memory, memory_with_reserved),
    (clock_sm,),
    (clock_memory,),
    (temperature, temperature_of_older_drivers),
)
