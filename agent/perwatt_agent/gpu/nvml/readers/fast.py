"""
What is read of a GPU each second, in five driver calls: energy, power, what held it back and what went over
its links in one batch, then load, memory, the SM clock and the core's temperature. On Hopper and newer, two
more ask every five seconds what its SMs did.

The graphics clock is not asked for: the SM clock shares its domain, and every call costs the driver.
"""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import pynvml

from perwatt_agent.facts.gpu_reading import GpuReading
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Answer, Asker, Facts
from perwatt_agent.gpu.nvml.driver.context import Tools
from perwatt_agent.gpu.nvml.driver.errors import GpuMute
from perwatt_agent.gpu.nvml.driver.fields import MODULE, FieldFacts
from perwatt_agent.gpu.nvml.driver.raw_call import Direct
from perwatt_agent.gpu.nvml.driver.traits import Traits
from perwatt_agent.gpu.nvml.readers.gpm import GpmReader
from perwatt_agent.gpu.nvml.readers.mig import MigMode
from perwatt_agent.gpu.nvml.readers.tables import POWER_AVERAGE, fast_fields

Question: TypeAlias = Callable[[Any], Answer]
"""One driver call on a handle, whose answer is understood later; raises NVMLError."""

_OURS = {"monotonic_seconds"}
"""The facts of a reading that are no answer of the driver."""


class FastReader:
    """Reads one GPU; utilisation only while it is whole, memory only where the driver owns it."""

    def __init__(self, asker: Asker, tools: Tools, traits: Traits, mode: MigMode, monitor: GpmReader) -> None:
        self._asker = asker
        self._clock = tools.clock
        self._usage_is_mean = traits.usage_is_mean
        self._mode = mode
        self._monitor = monitor
        self._fields = FieldFacts(fast_fields(traits, tools.options.detail), asker.failed)
        self._always = single_calls(has_memory=traits.numa_node is None)
        self._while_whole = ((utilization(),), *self._always)

    def ask(self, handle: Any) -> Callable[[], GpuReading]:
        """
        Make the calls, and return what makes a reading of their answers.

        Either raises GpuFailure and GenerationEnded.
        """
        each = self._asker.each
        answers = [self._fields.ask(handle)]
        now, by_field = self._clock.monotonic(), self._fields.best
        if "power_watts" not in by_field:
            answers += each(handle, ((power_usage,),), vital=not by_field)
        if "energy_joules" not in by_field:
            answers += each(handle, ((total_energy,),))
        answers += each(handle, self._always if self._mode.enabled else self._while_whole)
        return partial(
            self._understand, {"monotonic_seconds": now, **self._monitor.read(handle, now)}, answers
        )

    def _understand(self, facts: Facts, answers: list[Answer]) -> GpuReading:
        for answer in answers:
            facts |= answer()
        if facts.get("power_watts") is None and all(facts[name] is None for name in facts.keys() - _OURS):
            # What was refused is not asked again: left "ok", it would be so whatever becomes of the driver.
            raise GpuMute("error", "not_supported", "it refuses every call")
        power, energy = self._fields.best.get("power_watts"), self._fields.best.get("energy_joules")
        if energy is not None and energy.scope == MODULE:
            facts["energy_source"] = "module"
        facts["power_is_mean"] = power.id == POWER_AVERAGE if power else self._usage_is_mean
        return GpuReading(**facts, failed_calls=dict(self._asker.failed))


def power_usage(handle: Any) -> Answer:
    milliwatts = pynvml.nvmlDeviceGetPowerUsage(handle)
    return lambda: {"power_watts": values.watts(milliwatts)}


def total_energy(handle: Any) -> Answer:
    millijoules = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    return lambda: {"energy_joules": values.joules(millijoules)}


def utilization() -> Question:
    def utilization(gpu: int, memory: int) -> Facts:
        return {"utilization_ratio": values.ratio(gpu), "memory_utilization_ratio": values.ratio(memory)}

    return Direct("nvmlDeviceGetUtilizationRates", "=II", utilization, pynvml.c_nvmlUtilization_t())


def memory() -> Question:
    def memory(total: int, reserved: int, used: int) -> Facts:
        return {
            "memory_used_bytes": values.memory_bytes(used, total),
            "memory_total_bytes": values.memory_bytes(total, total),
            "memory_reserved_bytes": values.memory_bytes(reserved, total),
        }

    room = pynvml.c_nvmlMemory_v2_t(version=pynvml.nvmlMemory_v2)
    return Direct("nvmlDeviceGetMemoryInfo_v2", "=8xQQ8xQ", memory, room)


def memory_with_reserved(handle: Any) -> Answer:
    """The first version of the call, whose `used` holds what the driver reserves for itself."""
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return lambda: {
        "memory_used_bytes": values.memory_bytes(memory.used, memory.total),
        "memory_total_bytes": values.memory_bytes(memory.total, memory.total),
    }


def clock_sm() -> Question:
    def clock_sm(megahertz: int) -> Facts:
        return {"clock_sm_hertz": values.hertz(megahertz)}

    clock = ctypes.c_uint(pynvml.NVML_CLOCK_SM)
    return Direct("nvmlDeviceGetClockInfo", "=I", clock_sm, ctypes.c_uint(), clock)


def temperature() -> Question:
    def temperature(celsius: int) -> Facts:
        return {"temperature_core_celsius": values.core_celsius(celsius)}

    sensor = {"version": pynvml.nvmlTemperature_v1, "sensorType": pynvml.NVML_TEMPERATURE_GPU}
    room = pynvml.c_nvmlTemperature_v1_t(**sensor)
    return Direct("nvmlDeviceGetTemperatureV", "=8xi", temperature, room)


def temperature_of_older_drivers(handle: Any) -> Answer:
    """The call of older drivers; newer ones (CUDA 14) have it no more."""
    celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
    return lambda: {"temperature_core_celsius": values.core_celsius(celsius)}


def single_calls(*, has_memory: bool = True) -> tuple[tuple[Question, ...], ...]:
    """For one GPU: each row is one fact, the calls that can give it, best first."""
    of_memory = ((memory(), memory_with_reserved),) if has_memory else ()
    return (*of_memory, (clock_sm(),), (temperature(), temperature_of_older_drivers))
