"""Return codes of NVML: a table of their meanings, and the exceptions that follow from it."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pynvml
from msgspec import Struct

from perwatt_agent.gpu.backend import BackendBroken, BackendUnavailable, GenerationEnded, GpuFailure


class Meaning(Enum):
    """The scope of a failure."""

    ABSENT = "this GPU with this driver never gives the fact"
    FORBIDDEN = "this process may not have the fact now"
    TRANSIENT = "this call failed, the next may not"
    LOST = "this GPU is gone until it is reset"
    MISSING = "the driver does not know this GPU"
    ENDED = "the driver went away with every handle"


class Code(Struct, frozen=True):
    """One return code: the word for labels, and what it means."""

    word: str
    meaning: Meaning


SUCCESS = 0
INVALID_ARGUMENT = 2
NO_PERMISSION = 4
NOT_FOUND = 6
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
LIB_RM_VERSION_MISMATCH = 18
GPU_NOT_FOUND = 28
UNKNOWN = 999

CODES: dict[int, Code] = {
    1: Code("uninitialized", Meaning.ENDED),
    INVALID_ARGUMENT: Code("invalid_argument", Meaning.ABSENT),
    3: Code("not_supported", Meaning.ABSENT),
    NO_PERMISSION: Code("no_permission", Meaning.FORBIDDEN),
    NOT_FOUND: Code("not_found", Meaning.TRANSIENT),
    DRIVER_NOT_LOADED: Code("driver_not_loaded", Meaning.ENDED),
    10: Code("timeout", Meaning.TRANSIENT),
    11: Code("irq_issue", Meaning.TRANSIENT),
    LIBRARY_NOT_FOUND: Code("library_not_found", Meaning.TRANSIENT),
    FUNCTION_NOT_FOUND: Code("function_not_found", Meaning.ABSENT),
    14: Code("corrupted_inforom", Meaning.TRANSIENT),
    15: Code("gpu_is_lost", Meaning.LOST),
    16: Code("reset_required", Meaning.LOST),
    17: Code("operating_system", Meaning.TRANSIENT),
    # Only a start can tell whether this is final, so mid-run it ends the generation.
    LIB_RM_VERSION_MISMATCH: Code("version_mismatch", Meaning.ENDED),
    19: Code("in_use", Meaning.TRANSIENT),
    20: Code("out_of_memory", Meaning.TRANSIENT),
    21: Code("no_data", Meaning.TRANSIENT),
    23: Code("insufficient_resources", Meaning.TRANSIENT),
    25: Code("version_not_supported", Meaning.ABSENT),
    26: Code("deprecated", Meaning.ABSENT),
    27: Code("not_ready", Meaning.TRANSIENT),
    GPU_NOT_FOUND: Code("gpu_not_found", Meaning.MISSING),
    29: Code("invalid_state", Meaning.TRANSIENT),
    UNKNOWN: Code("unknown", Meaning.TRANSIENT),
}

# Codes come and go with driver versions: one that is not listed is a failure like any other.
_UNLISTED = Code("other", Meaning.TRANSIENT)

_REMEDIES: dict[int, str] = {
    LIBRARY_NOT_FOUND: "libnvidia-ml.so.1 was not found: install the NVIDIA driver, or start the container "
    "with NVIDIA_VISIBLE_DEVICES=all and NVIDIA_DRIVER_CAPABILITIES=utility",
    DRIVER_NOT_LOADED: "the NVIDIA kernel module is not loaded: run `modprobe nvidia`, or give the container "
    "its GPUs",
    NO_PERMISSION: "the process may not open /dev/nvidiactl: run it as a user who may, or give the container "
    "its GPUs",
    LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was replaced while its library was in use: restart perwatt; "
    "if it persists, reload the kernel module or reboot",
    UNKNOWN: "NVML failed with an unknown error: look into `dmesg`; a container that lost its devices must "
    "be created anew",
}


class GpuMissing(GpuFailure):
    """The driver no longer knows this GPU; if it knows none of them, its generation has ended."""


class AllCallsRefused(GpuFailure):
    """This GPU refuses every call."""


def describe(code: int) -> Code:
    return CODES.get(code, _UNLISTED)


def raise_if_fatal(code: int, call: str) -> None:
    """Raise when `code` concerns more than the facts of this one call."""
    if describe(code).meaning in (Meaning.LOST, Meaning.MISSING, Meaning.ENDED):
        raise_failure(code, call)


def raise_failure(code: int, call: str) -> None:
    """
    Raise what `code` means when the GPU itself cannot be read: GenerationEnded or GpuFailure.
    """
    known = describe(code)
    message = f"{call}: {known.word} (NVML code {code})"
    if known.meaning is Meaning.ENDED:
        raise GenerationEnded(message)
    if known.meaning is Meaning.MISSING:
        raise GpuMissing("lost", known.word, message)
    if known.meaning is Meaning.LOST:
        raise GpuFailure("lost", known.word, f"{message}: reset the GPU or the node")
    raise GpuFailure("error", known.word, message)


def unavailable(code: int, call: str) -> BackendUnavailable:
    """The exception for a library that does not start. Its message says how to fix it."""
    kind = BackendBroken if code == LIB_RM_VERSION_MISMATCH else BackendUnavailable
    word = describe(code).word
    return kind(word, _REMEDIES.get(code, f"{call} failed: {word} (NVML code {code}); look into `dmesg`"))


def checked(name: str, call: Callable[[], Any]) -> Any:
    """The result of a call without which there is no generation; raises `unavailable`."""
    try:
        return call()
    except pynvml.NVMLError as error:
        code = int(error.value)
    raise unavailable(code, name)
