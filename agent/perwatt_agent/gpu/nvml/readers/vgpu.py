"""Virtualization of a GPU: its mode, and the number of active vGPUs on a hypervisor's host."""

import ctypes
from typing import Any, get_args

import pynvml

from perwatt_agent.facts.gpu_status import VirtualizationMode
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import ConstantFacts, Facts, GpuCalls

# In the order of nvmlGpuVirtualizationMode_t.
_MODES: tuple[VirtualizationMode, ...] = get_args(VirtualizationMode)

# More than any board can have, so that one call lists them all.
_MAX_VGPUS = 256


class Virtualization:
    """The mode of one GPU, read once; on a vGPU host, how many vGPUs are active now."""

    def __init__(self, calls: GpuCalls) -> None:
        self._calls = calls
        self._mode = ConstantFacts(calls, (virtualization_mode,))

    def read(self, handle: Any) -> Facts:
        facts = self._mode.read(handle)
        if facts.get("virtualization_mode") != "host_vgpu":
            return facts
        return facts | self._calls.first(handle, active_vgpus)


def virtualization_mode(handle: Any) -> Facts:
    mode = pynvml.nvmlDeviceGetVirtualizationMode(handle)
    return {"virtualization_mode": values.named(_MODES, mode)}


def active_vgpus(handle: Any) -> Facts:
    # The binding makes two calls, for the size and for the list, between which a guest may start.
    call = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetActiveVgpus")
    count = ctypes.c_uint(_MAX_VGPUS)
    pynvml._nvmlCheckReturn(call(handle, ctypes.byref(count), (ctypes.c_uint * _MAX_VGPUS)()))
    return {"active_vgpus": count.value if count.value < _MAX_VGPUS else None}
