"""Table of slow driver calls: one NVML function each, and the facts that it gives."""

import ctypes
from collections.abc import Callable
from typing import Any, get_args

import pynvml

from perwatt_agent.facts.gpu_status import ComputeMode, FabricHealth, FabricState, ThrottleReason
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Call, ConstantFacts, Facts, GpuCalls

_COMPUTE_MODES: tuple[ComputeMode, ...] = get_args(ComputeMode)
_FABRIC_STATES: tuple[FabricState | None, ...] = (None, *get_args(FabricState))
_FABRIC_HEALTH: tuple[FabricHealth | None, ...] = (None, *get_args(FabricHealth))

# Bit by bit, as nvmlClocksEventReason* has them.
_REASONS: tuple[ThrottleReason, ...] = get_args(ThrottleReason)


def _number(fact: str, function: str, convert: Callable[[int], Any], *arguments: int) -> Call:
    """A call of an NVML function that returns one number."""

    def call(handle: Any) -> Facts:
        return {fact: convert(getattr(pynvml, function)(handle, *arguments))}

    call.__name__ = fact.replace(".", "_")
    return call


def throttle_reasons(handle: Any) -> Facts:
    return _reasons(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))


def throttle_reasons_of_older_drivers(handle: Any) -> Facts:
    return _reasons(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


def _reasons(bits: int) -> Facts:
    return {"throttle_reasons": tuple(reason for place, reason in enumerate(_REASONS) if bits >> place & 1)}


def without_power_cap(reasons: tuple[ThrottleReason, ...]) -> Facts:
    """The reasons of a board on which the power cap cannot be told; see `Traits.reports_power_caps`."""
    left = tuple(reason for reason in reasons if reason != "sw_power_cap")
    return {"throttle_reasons": left, "throttle_reasons_unknown": ("sw_power_cap",)}


def bar1(handle: Any) -> Facts:
    memory = pynvml.nvmlDeviceGetBAR1MemoryInfo(handle)
    total = memory.bar1Total
    return {
        "bar1_used_bytes": values.memory_bytes(memory.bar1Used, total),
        "bar1_total_bytes": values.memory_bytes(total, total),
    }


def encoder(handle: Any) -> Facts:
    return {"encoder_ratio": values.ratio(pynvml.nvmlDeviceGetEncoderUtilization(handle)[0])}


def decoder(handle: Any) -> Facts:
    return {"decoder_ratio": values.ratio(pynvml.nvmlDeviceGetDecoderUtilization(handle)[0])}


def fabric(handle: Any) -> Facts:
    # Bindings before this version of the struct lack it, and then the alternative is all there is.
    if not hasattr(pynvml, "c_nvmlGpuFabricInfo_v3_t"):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    info = pynvml.c_nvmlGpuFabricInfo_v3_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return _fabric(info) | {"fabric_health": values.named(_FABRIC_HEALTH, info.healthSummary)}


def fabric_without_health(handle: Any) -> Facts:
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return _fabric(info)


def _fabric(info: Any) -> Facts:
    return {"fabric_state": values.named(_FABRIC_STATES, info.state)}


def clock_memory(handle: Any) -> Facts:
    return {"clock_memory_hertz": values.hertz(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM))}


# Each row is one group of facts: the calls that can give it, best first.
SLOW_CALLS: tuple[tuple[Call, ...], ...] = (
    (throttle_reasons, throttle_reasons_of_older_drivers),
    (clock_memory,),
    (_number("performance_state", "nvmlDeviceGetPerformanceState", values.performance_state),),
    (_number("temperature_margin_celsius", "nvmlDeviceGetMarginTemperature", values.margin_celsius),),
    (_number("pcie_generation", "nvmlDeviceGetCurrPcieLinkGeneration", values.link_number),),
    (_number("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", values.link_number),),
    (bar1,),
    (fabric, fabric_without_health),
    (_number("compute_mode", "nvmlDeviceGetComputeMode", lambda mode: values.named(_COMPUTE_MODES, mode)),),
    (_number("persistence", "nvmlDeviceGetPersistenceMode", values.flag),),
)
# Not called while MIG is on.
WHOLE_GPU_CALLS: tuple[tuple[Call, ...], ...] = ((encoder,), (decoder,))

# Constant while the driver runs: called until each has succeeded.
ONCE_CALLS: tuple[Call, ...] = (
    _number("clock_sm_max_hertz", "nvmlDeviceGetMaxClockInfo", values.hertz, pynvml.NVML_CLOCK_SM),
    _number("clock_memory_max_hertz", "nvmlDeviceGetMaxClockInfo", values.hertz, pynvml.NVML_CLOCK_MEM),
    _number("pcie_generation_max", "nvmlDeviceGetMaxPcieLinkGeneration", values.link_number),
    _number("pcie_width_max", "nvmlDeviceGetMaxPcieLinkWidth", values.link_number),
)
# Boards since Ada report margins in place of these, except GeForce.
THRESHOLD_CALLS: tuple[Call, ...] = tuple(
    _number(
        f"temperature_thresholds_celsius.{name}",
        "nvmlDeviceGetTemperatureThreshold",
        values.memory_celsius,
        threshold,
    )
    for name, threshold in {
        "shutdown": pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
        "slowdown": pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
        "memory_max": pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
        "gpu_max": pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
    }.items()
)


class Fans:
    """The speeds of a board's own fans, as ratios in the order of their numbers."""

    def __init__(self, calls: GpuCalls) -> None:
        self._calls = calls
        self._count = ConstantFacts(calls, (_number("count", "nvmlDeviceGetNumFans", int),))

    def read(self, handle: Any) -> Facts:
        count = self._count.read(handle).get("count", 0)
        return self._calls.first(handle, self.fan_speeds) if count else {}

    def fan_speeds(self, handle: Any) -> Facts:
        numbers = range(self._count.read(handle)["count"])
        ratios = [values.full_ratio(pynvml.nvmlDeviceGetFanSpeed_v2(handle, fan)) for fan in numbers]
        return {} if None in ratios else {"fan_ratios": tuple(ratios)}
