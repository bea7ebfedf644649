"""The driver's library: starts it, names its versions, and finds the GPUs of one generation."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pynvml

from perwatt_agent.backend import Generation
from perwatt_agent.nvml.device import NvmlDevice, Roll
from perwatt_agent.nvml.errors import Meaning, describe, unavailable
from perwatt_agent.nvml.events import NvmlWatch
from perwatt_agent.nvml.roll_call import RollCall
from perwatt_agent.nvml.tools import Tools
from perwatt_agent.nvml.traits import Traits, version_numbers
from perwatt_agent.snapshot import GpuInfo

logger = logging.getLogger(__name__)

# nvmlDeviceArchitecture_t -> label; what is newer than this table has no name, and is taken for the newest.
ARCHITECTURES = {
    2: "kepler",
    3: "maxwell",
    4: "pascal",
    5: "volta",
    6: "turing",
    7: "ampere",
    8: "ada",
    9: "hopper",
    10: "blackwell",
    13: "rubin",
}
_AMPERE = 7
# A GPU that does not say who it is by then is left out of its generation.
IDENTIFY_SECONDS = 2.0
_COMPUTE_GA100 = (8, 0)


class Library:
    """The library from `start` to `stop`, which is one generation of the driver."""

    def __init__(self) -> None:
        self._roll_call: RollCall[NvmlDevice] | None = None
        self._roll = Roll()
        self._devices: tuple[NvmlDevice, ...] = ()
        self._watch: NvmlWatch | None = None

    def start(self, tools: Tools) -> Generation:
        """Begin a generation; raises BackendUnavailable or BackendBroken, and then nothing is left open."""
        _checked("nvmlInit", pynvml.nvmlInit)
        try:
            return self._enumerate(tools)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """
        End the generation, unless a call still hangs in it: then only the end of the process does.

        A driver that is gone already cannot be shut down, which is just as well.
        """
        if self._watch is not None and not self._watch.end():
            return
        if self._roll_call is not None and self._roll_call.hangs:
            return
        if not self._roll.ended:
            for device in self._devices:
                device.free()
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _enumerate(self, tools: Tools) -> Generation:
        driver_version = _checked("nvmlSystemGetDriverVersion", pynvml.nvmlSystemGetDriverVersion)
        nvml_version = _checked("nvmlSystemGetNVMLVersion", pynvml.nvmlSystemGetNVMLVersion)
        count = _checked("nvmlDeviceGetCount", pynvml.nvmlDeviceGetCount)
        roll = self._roll = Roll()
        driver = version_numbers(driver_version)
        self._roll_call = RollCall(
            lambda index: _identify(index, driver, roll, tools), count, IDENTIFY_SECONDS
        )
        devices = tuple(device for device in self._roll_call.answers if device is not None)
        self._devices = devices
        if self._roll_call.hangs:
            logger.warning("a GPU does not say who it is and hangs: it may need a reset")
        if devices:
            self._watch = NvmlWatch([device.info.uuid for device in devices], tools.clock)
        unidentified = count - len(devices)
        return Generation(driver_version, nvml_version, devices, unidentified, self._watch)


def _checked(name: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except pynvml.NVMLError as error:
        code = int(error.value)
    raise unavailable(code, name)


def _identify(index: int, driver: tuple[int, ...], roll: Roll, tools: Tools) -> NvmlDevice | None:
    """The GPU at this index, or None when it is there but cannot be told from others."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
    except pynvml.NVMLError as error:
        code = int(error.value)
    else:
        info, traits = _describe(handle, uuid, index, driver)
        return NvmlDevice(info, handle, traits, roll, tools)
    known = describe(code)
    if known.meaning is Meaning.ENDED:
        raise unavailable(code, "nvmlDeviceGetHandleByIndex")
    logger.warning("GPU %d has no identity (%s, NVML code %d): it may need a reset", index, known.word, code)
    return None


def _describe(handle: Any, uuid: str, index: int, driver: tuple[int, ...]) -> tuple[GpuInfo, Traits]:
    architecture = _given(pynvml.nvmlDeviceGetArchitecture, handle, 0)
    compute = _given(pynvml.nvmlDeviceGetCudaComputeCapability, handle, (0, 0))
    numa_node = _given(pynvml.nvmlDeviceGetNumaNodeId, handle, -1)
    info = GpuInfo(
        uuid=uuid,
        index=index,
        name=_given(pynvml.nvmlDeviceGetName, handle, ""),
        pci_bus_id=_given(_pci_bus_id, handle, ""),
        architecture=ARCHITECTURES.get(architecture, ""),
        serial=_given(pynvml.nvmlDeviceGetSerial, handle, ""),
        vbios_version=_given(pynvml.nvmlDeviceGetVbiosVersion, handle, ""),
        numa_node=numa_node if numa_node >= 0 else None,
    )
    traits = Traits(
        driver,
        architecture,
        # nvml.h: the mean of one second "on Ampere (except GA100) or newer", else instantaneous.
        usage_is_mean=architecture >= _AMPERE and compute != _COMPUTE_GA100,
        numa_node=info.numa_node,
        mig=_given(pynvml.nvmlDeviceGetMigMode, handle, (0, 0))[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
    )
    return info, traits


def _given(call: Callable[[Any], Any], handle: Any, otherwise: Any) -> Any:
    """A fact that a GPU may lack; a board's own memory may also hold text that is none."""
    try:
        return call(handle)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return otherwise


def _pci_bus_id(handle: Any) -> str:
    bus_id = pynvml.nvmlDeviceGetPciInfo(handle).busId
    return bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)
