"""Identity of a GPU: UUID, name and traits of the board at one index."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pynvml

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS, UNKNOWN
from perwatt_agent.gpu.nvml.driver.traits import Traits

# nvmlDeviceArchitecture_t -> label. A newer architecture has no label, and is read like the newest.
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
_TURING, _AMPERE = 6, 7
_COMPUTE_GA100 = (8, 0)


class Identity(NamedTuple):
    """
    The GPU at one index, or the return `code` for which it has no identity.

    `described` is None for a known GPU whose index has not changed.
    """

    uuid: str = ""
    handle: Any = None
    described: tuple[GpuInfo, Traits] | None = None
    code: int = SUCCESS


def identify(index: int, driver: tuple[int, ...], places: Mapping[str, int]) -> Identity:
    """Read the identity of the GPU at this index; *places* are the indices of the known GPUs, by UUID."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
    except pynvml.NVMLError as error:
        return Identity(code=int(error.value))
    except UnicodeDecodeError:
        return Identity(code=UNKNOWN)
    at_its_place = places.get(uuid) == index
    return Identity(uuid, handle, None if at_its_place else _describe(handle, uuid, index, driver))


def _describe(handle: Any, uuid: str, index: int, driver: tuple[int, ...]) -> tuple[GpuInfo, Traits]:
    architecture = _optional(pynvml.nvmlDeviceGetArchitecture, handle, 0)
    compute = _optional(pynvml.nvmlDeviceGetCudaComputeCapability, handle, (0, 0))
    numa_node = _optional(pynvml.nvmlDeviceGetNumaNodeId, handle, -1)
    info = GpuInfo(
        uuid=uuid,
        index=index,
        name=_optional(pynvml.nvmlDeviceGetName, handle, ""),
        pci_bus_id=_optional(_pci_bus_id, handle, ""),
        architecture=ARCHITECTURES.get(architecture, ""),
        serial=_optional(pynvml.nvmlDeviceGetSerial, handle, ""),
        vbios_version=_optional(pynvml.nvmlDeviceGetVbiosVersion, handle, ""),
        numa_node=numa_node if numa_node >= 0 else None,
        minor_number=_optional(pynvml.nvmlDeviceGetMinorNumber, handle, None),
    )
    traits = Traits(
        driver,
        architecture,
        # nvml.h: the mean of one second "on Ampere (except GA100) or newer", else instantaneous.
        usage_is_mean=architecture >= _AMPERE and compute != _COMPUTE_GA100,
        numa_node=info.numa_node,
        reports_power_caps=not (architecture == _TURING and "GeForce" in info.name),
        mig=_optional(pynvml.nvmlDeviceGetMigMode, handle, (0, 0))[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
    )
    return info, traits


def _optional(call: Callable[[Any], Any], handle: Any, otherwise: Any) -> Any:
    """A fact that a GPU may lack. Text from a board's memory may not be valid UTF-8."""
    try:
        return call(handle)
    except (pynvml.NVMLError, UnicodeDecodeError):
        return otherwise


def _pci_bus_id(handle: Any) -> str:
    bus_id = pynvml.nvmlDeviceGetPciInfo(handle).busId
    return bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id)
