"""
List of the processes on a GPU, whatever call and layout the driver has for it.

The binding's own function does not suffice. Drivers 535.43 up to 535.98 fill entries of 32 bytes in the same
call for which drivers before and since fill 24, so that the second process and all after it are read wrong.
Drivers before 510 lack the third version of the call.
"""

import ctypes
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NamedTuple

import pynvml

from perwatt_agent.gpu.nvml.driver.errors import FUNCTION_NOT_FOUND, INSUFFICIENT_SIZE, SUCCESS, UNKNOWN

PID_MAX = 4_194_304
"""The greatest process id that Linux gives (PID_MAX_LIMIT)."""

COMPUTE, GRAPHICS = "Compute", "Graphics"

_NOT_AVAILABLE = 2**64 - 1
_MAX_MEMORY_BYTES = 2**48
_NO_INSTANCE = 0xFFFF_FFFF
_MAX_INSTANCE = 64

# pid, memory, GPU instance, compute instance; the longest entry has protected memory after them.
_LAYOUT_24 = Struct("=I4xQII")
_LAYOUT_32 = Struct("=I4xQII8x")
_LAYOUT_16 = Struct("=I4xQ")
_MAX_ENTRY_BYTES = 32
# A pattern that is no valid entry: what the driver did not write is not taken for a process.
_FILL = b"\xa5"

# Versions of the call, newest first, and the layouts that drivers have filled there.
_VERSIONS = (("_v3", (_LAYOUT_24, _LAYOUT_32)), ("_v2", (_LAYOUT_24,)), ("", (_LAYOUT_16,)))
_LONG_ENTRIES = ((535, 43), (535, 98))


class Entry(NamedTuple):
    """One process; `memory_bytes` is None where the driver does not have it, as in some containers."""

    pid: int
    memory_bytes: int | None
    gpu_instance: int = _NO_INSTANCE
    compute_instance: int = _NO_INSTANCE

    @property
    def is_plausible(self) -> bool:
        """Whether a driver can have meant this: read with the wrong layout, entries nearly never are."""
        instances = (self.gpu_instance, self.compute_instance)
        return (
            0 < self.pid <= PID_MAX
            and (self.memory_bytes or 0) < _MAX_MEMORY_BYTES
            and all(one < _MAX_INSTANCE or one == _NO_INSTANCE for one in instances)
        )


def processes_of(handle: Any, kind: str, driver: tuple[int, ...]) -> list[Entry]:
    """The processes of *kind* (COMPUTE or GRAPHICS) on a GPU or MIG instance. Raises NVMLError."""
    code = FUNCTION_NOT_FOUND
    for version, layouts in _VERSIONS:
        answer = _call(handle, f"nvmlDeviceGet{kind}RunningProcesses{version}")
        if answer.code == SUCCESS:
            return _decoded(answer, layouts, driver)
        code = answer.code
        if code != FUNCTION_NOT_FOUND:
            break
    raise pynvml.NVMLError(code)


class _Answer(NamedTuple):
    """The code of a call, the length of the list, and the memory that the driver filled from its start."""

    code: int
    length: int = 0
    memory: bytes = b""


def _call(handle: Any, name: str) -> _Answer:
    try:
        function: Callable[..., int] = pynvml._nvmlGetFunctionPointer(name)
    except pynvml.NVMLError as error:
        return _Answer(int(error.value))
    count = ctypes.c_uint(0)
    code = function(handle, ctypes.byref(count), None)
    if code != INSUFFICIENT_SIZE:
        return _Answer(code)
    # More processes may have started since.
    count.value = count.value * 2 + 5
    size = count.value * _MAX_ENTRY_BYTES
    memory = ctypes.create_string_buffer(_FILL * size, size)
    code = function(handle, ctypes.byref(count), memory)
    return _Answer(code, count.value, memory.raw)


def _decoded(answer: _Answer, layouts: Sequence[Struct], driver: tuple[int, ...]) -> list[Entry]:
    """Read in the driver's layout, unless only another one gives processes that can exist."""
    is_long = _LONG_ENTRIES[0] <= driver < _LONG_ENTRIES[1]
    ordered = sorted(layouts, key=lambda layout: (layout is _LAYOUT_32) != is_long)
    readings = [_entries(answer, layout) for layout in ordered]
    for entries in readings:
        if all(entry.is_plausible for entry in entries):
            return entries
    if any(entry.pid > PID_MAX for entry in readings[0]):
        raise pynvml.NVMLError(UNKNOWN)  # a layout that nobody knows: no list is better than a wrong one
    return readings[0]


def _entries(answer: _Answer, layout: Struct) -> list[Entry]:
    filled = answer.memory[: answer.length * layout.size]
    return [
        Entry(pid, None if memory == _NOT_AVAILABLE else memory, *instances)
        for pid, memory, *instances in layout.iter_unpack(filled)
    ]
