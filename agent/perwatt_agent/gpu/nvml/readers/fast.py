"""
Fast reader: what is read of a GPU each second, in five driver calls.

One batch of fields gives energy, power, throttling and link traffic. The other calls give utilization,
memory, the SM clock and the core's temperature. On Hopper and newer, two more calls read GPM every five
seconds.

The graphics clock is not read: it equals the SM clock, and every call takes time in the driver.
"""

import ctypes
import struct
from typing import Any

import pynvml

from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Call, Facts, GpuCalls
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.errors import AllCallsRefused
from perwatt_agent.gpu.nvml.driver.fields import MODULE, FieldReader
from perwatt_agent.gpu.nvml.driver.traits import Traits
from perwatt_agent.gpu.nvml.readers.gpm import GpmReader
from perwatt_agent.gpu.nvml.readers.mig import MigMode
from perwatt_agent.gpu.nvml.readers.tables import POWER_AVERAGE, fast_fields

# The binding's structs are slow to fill and to read by name. nvmlUtilization_t; nvmlMemory_v2_t after its
# version; nvmlTemperature_v1_t: version, sensor, degrees.
_RATES = struct.Struct("=II")
_MEMORY = struct.Struct("=8xQQQQ")
_TEMPERATURE = struct.Struct("=IIi")
_TEMPERATURE_REQUEST = _TEMPERATURE.pack(pynvml.nvmlTemperature_v1, pynvml.NVML_TEMPERATURE_GPU, 0)


class FastReader:
    """Reads one GPU: utilization only while MIG is off, memory only where the driver owns it."""

    def __init__(
        self, calls: GpuCalls, context: Context, traits: Traits, mode: MigMode, gpm: GpmReader
    ) -> None:
        self._calls = calls
        self._clock = context.clock
        self._usage_is_mean = traits.usage_is_mean
        self._mode = mode
        self._gpm = gpm
        self._fields = FieldReader(fast_fields(traits, context.options.detail), calls)
        self._always = ALWAYS_CALLS if traits.numa_node is None else ALWAYS_CALLS[1:]
        self._without_mig = ((utilization,), *self._always)

    def read(self, handle: Any) -> GpuReading:
        """Raises GpuFailure and GenerationEnded."""
        read_each = self._calls.each
        facts = self._fields.read(handle)
        now, by_field = self._clock.monotonic(), self._fields.best
        if "power_watts" not in by_field:
            facts |= read_each(handle, ((power_usage,),), vital=not by_field)
        if "energy_joules" not in by_field:
            facts |= read_each(handle, ((total_energy,),))
        facts |= read_each(handle, self._always if self._mode.enabled else self._without_mig)
        facts |= self._gpm.read(handle, now)
        if facts.get("power_watts") is None and all(value is None for value in facts.values()):
            # Refused calls are not repeated: left "ok", the GPU would stay so whatever happens to the driver.
            raise AllCallsRefused("error", "not_supported", "it refuses every call")
        power, energy = by_field.get("power_watts"), by_field.get("energy_joules")
        if energy is not None and energy.scope == MODULE:
            facts["energy_source"] = "module"
        return GpuReading(
            monotonic_seconds=now,
            power_is_mean=power.id == POWER_AVERAGE if power else self._usage_is_mean,
            failed_calls=dict(self._calls.failed),
            **facts,
        )


def power_usage(handle: Any) -> Facts:
    return {"power_watts": values.watts(pynvml.nvmlDeviceGetPowerUsage(handle))}


def total_energy(handle: Any) -> Facts:
    return {"energy_joules": values.joules(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))}


def utilization(handle: Any) -> Facts:
    gpu, memory = _RATES.unpack(pynvml.nvmlDeviceGetUtilizationRates(handle))
    return {
        "utilization_ratio": values.ratio(gpu),
        "memory_utilization_ratio": values.ratio(memory),
    }


def memory(handle: Any) -> Facts:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    total, reserved, _, used = _MEMORY.unpack(memory)
    return {
        "memory_used_bytes": values.memory_bytes(used, total),
        "memory_total_bytes": values.memory_bytes(total, total),
        "memory_reserved_bytes": values.memory_bytes(reserved, total),
    }


def memory_with_reserved(handle: Any) -> Facts:
    """The first version of the call, whose `used` includes what the driver reserves for itself."""
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "memory_used_bytes": values.memory_bytes(memory.used, memory.total),
        "memory_total_bytes": values.memory_bytes(memory.total, memory.total),
    }


def clock_sm(handle: Any) -> Facts:
    return {"clock_sm_hertz": values.hertz(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))}


def temperature(handle: Any) -> Facts:
    answer = pynvml.c_nvmlTemperature_v1_t.from_buffer_copy(_TEMPERATURE_REQUEST)
    call = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetTemperatureV")
    pynvml._nvmlCheckReturn(call(handle, ctypes.byref(answer)))
    _, _, celsius = _TEMPERATURE.unpack(answer)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


def temperature_of_older_drivers(handle: Any) -> Facts:
    """The call of older drivers; drivers from CUDA 14 on do not have it."""
    celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_core_celsius": values.core_celsius(celsius)}


# Each row is one fact: the calls that can give it, best first. Memory is first, and left out where the
# operating system owns it.
ALWAYS_CALLS: tuple[tuple[Call, ...], ...] = (
    (memory, memory_with_reserved),
    (clock_sm,),
    (temperature, temperature_of_older_drivers),
)
