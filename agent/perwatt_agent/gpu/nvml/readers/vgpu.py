"""How a GPU is virtualized, and how many virtual GPUs a hypervisor's host has made of it."""

import ctypes
from typing import Any, get_args

import pynvml

from perwatt_agent.facts.gpu_status import VirtualizationMode
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import Asker, Facts, Once

# In the order of nvmlGpuVirtualizationMode_t.
_MODES: tuple[VirtualizationMode, ...] = get_args(VirtualizationMode)

# More than any board can be shared among, so that one call lists them all.
_ROOM = 256


class Virtualization:
    """The mode of one GPU, asked once; on a host of vGPUs, how many of them are active now."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._mode = Once(asker, (virtualization_mode,))

    def read(self, handle: Any) -> Facts:
        facts = self._mode.read(handle)
        if facts.get("virtualization_mode") != "host_vgpu":
            return facts
        return facts | self._asker.ask(handle, (active_vgpus,))


def virtualization_mode(handle: Any) -> Facts:
    mode = pynvml.nvmlDeviceGetVirtualizationMode(handle)
    return {"virtualization_mode": values.named(_MODES, mode)}


def active_vgpus(handle: Any) -> Facts:
    # The binding asks twice, for the size and for the list, between which a guest may start.
    call = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetActiveVgpus")
    count = ctypes.c_uint(_ROOM)
    pynvml._nvmlCheckReturn(call(handle, ctypes.byref(count), (ctypes.c_uint * _ROOM)()))
    return {"active_vgpus": count.value if count.value < _ROOM else None}
