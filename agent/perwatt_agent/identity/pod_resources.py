"""
Containers and their GPUs, decoded from the kubelet's PodResources answer (v1, protobuf).

The fields that matter are strings and messages only, so a small decoder suffices:

    ListPodResourcesResponse { repeated PodResources pod_resources = 1; }
    PodResources { string name = 1; string namespace = 2; repeated ContainerResources containers = 3; }
    ContainerResources { string name = 1; repeated ContainerDevices devices = 2;
                         repeated DynamicResource dynamic_resources = 5; }
    ContainerDevices { string resource_name = 1; repeated string device_ids = 2; }
    DynamicResource { string claim_name = 2; string claim_namespace = 3;
                      repeated ClaimResource claim_resources = 4; }
    ClaimResource { string driver_name = 2; string pool_name = 3; string device_name = 4; }
"""

import re
from collections.abc import Iterator
from functools import partial

from msgspec import Struct

from perwatt_agent.net.failures import reasons

# Plain, renamed for time-slicing or by the operator, and MIG slices. NVIDIA's other resources (network
# devices, whole GPUs of virtual machines) have other ids.
_NVIDIA = "nvidia.com/"
_GPU_DEVICE = r"(?:GPU|MIG)-.+|(?:/dev/)?nvidia\d+(?:/.*)?"
# A GPU or slice by its whole UUID, after which plugins that share GPUs append a number: GPU-<uuid>-3, -_-3.
_UUID = r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# NVIDIA's DRA driver names devices by the number of the device node: gpu-0, gpu-0-mig-1g10gb-19-0.
_DRA_DRIVER = "gpu.nvidia.com"
_DRA_DEVICE = r"gpu-(\d+)(?:-mig-.*)?"
_CLAIM = "/claim/"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Container(Struct, frozen=True):
    """
    One container and its devices, by the ids of the device plugin.

    A device of a resource claim (DRA) is `nvidiaN/claim/<namespace>/<name>`.
    """

    namespace: str
    pod: str
    container: str
    devices: tuple[str, ...]


class PodsRead(Struct, frozen=True, tag="read"):
    """An answer, received after `seconds`: the containers that hold GPUs."""

    containers: tuple[Container, ...]
    seconds: float = 0.0


PODS_REASONS = reasons(
    "no_grpcio",
    "no_socket",
    "permission",
    "refused",
    "timeout",
    "error",
    "garbage",
    "ended",
    "silent",
    "garbled",
)


class PodsFailed(Struct, frozen=True, tag="failed"):
    """No answer within `seconds`: why (one of PODS_REASONS), and what to do about it."""

    reason: str
    message: str
    seconds: float = 0.0


PodsLine = PodsRead | PodsFailed
"""One JSON line from the helper process to the agent."""


def containers_in(response: bytes) -> tuple[Container, ...]:
    """
    Return the containers of a ListPodResourcesResponse that hold NVIDIA GPUs.

    Raises ValueError if *response* is not such a message.
    """
    return tuple(container for pod in _fields(response, 1) for container in _containers_of_pod(pod))


def gpu_of(device: str) -> str:
    """
    Return the GPU, slice or index that a device plugin's *device* id names.

    A UUID (`GPU-...`, `MIG-...`) as it is, without the replica that plugins append for sharing; the parent's
    UUID of an old-style `MIG-GPU-<uuid>/gi/ci`; `nvidiaN` of a path such as GKE's `nvidia0/gi1`.
    """
    name = device.split("::", 1)[0].removeprefix("/dev/")
    if name.startswith("MIG-GPU-"):
        name = name.removeprefix("MIG-")
    whole = re.match(_UUID, name)
    return whole[0] if whole else name.split("/", 1)[0]


def is_claimed(device: str) -> bool:
    """Return whether a device is of a resource claim, which several containers may use together."""
    return _CLAIM in device


def _containers_of_pod(pod: bytes) -> Iterator[Container]:
    name, namespace = _text(pod, 1), _text(pod, 2)
    for container in _fields(pod, 3):
        devices = (*_plugin_devices(container), *_claimed_devices(container))
        if devices:
            yield Container(namespace, name, _text(container, 1), devices)


def _plugin_devices(container: bytes) -> Iterator[str]:
    for given in _fields(container, 2):
        is_of_nvidia = _text(given, 1).startswith(_NVIDIA)
        is_gpu = partial(re.fullmatch, _GPU_DEVICE) if is_of_nvidia else partial(re.match, _UUID)
        yield from filter(is_gpu, map(_decoded, _fields(given, 2)))


def _claimed_devices(container: bytes) -> Iterator[str]:
    for claim in _fields(container, 5):
        name = f"{_text(claim, 3)}/{_text(claim, 2)}"
        for given in _fields(claim, 4):
            device = re.fullmatch(_DRA_DEVICE, _text(given, 4))
            if device is not None and _text(given, 2) == _DRA_DRIVER:
                yield f"nvidia{device[1]}{_CLAIM}{name}"


def _text(message: bytes, number: int) -> str:
    # A repeated scalar field: the last one counts.
    return _decoded(next(reversed(list(_fields(message, number))), b""))


def _decoded(content: bytes) -> str:
    return content.decode("utf-8")


def _fields(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the contents of the length-delimited fields that have this number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        length = 0
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if at + length > len(message):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(message)}")
        if kind == _BYTES and key >> 3 == number:
            yield message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the message ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number of more than 64 bits at byte {at}")
