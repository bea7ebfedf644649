"""
MIG instances of a GPU, listed at every slow read: they are created and destroyed while everything runs.

An instance is identified by its UUID. Its numbers may be used again by another instance.
"""

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import pynvml
from msgspec.structs import replace

from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.gpu.nvml.driver import values
from perwatt_agent.gpu.nvml.driver.calls import ConstantFacts, Facts, GpuCalls
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.errors import INVALID_ARGUMENT, NOT_FOUND, Meaning, describe, raise_failure
from perwatt_agent.gpu.nvml.readers.gpm import GpmPair, GpmRequest, metrics
from perwatt_agent.gpu.nvml.readers.processes import ComputeProcesses, Place

# An empty slot, and an instance that was destroyed while it was read.
_GONE = (INVALID_ARGUMENT, NOT_FOUND)
# Refused for one instance, a call is refused for all; any other failure is the end of one instance.
_REFUSED = (Meaning.ABSENT, Meaning.FORBIDDEN, Meaning.ENDED)


# The names of failed calls for an instance, in `failed_calls` of a reading.
_INSTANCE = "mig_instance"
_ATTRIBUTES = "mig_attributes"
_MONITOR = "mig_monitor"
_PROCESSES = "mig_processes"


class MigMode:
    """Whether MIG is on; shared by the readers of one GPU."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled


class MigReader:
    """Reads all instances of one GPU, and keeps its `mode`."""

    def __init__(self, calls: GpuCalls, context: Context, driver: tuple[int, ...], mode: MigMode) -> None:
        self._calls = calls
        self._set_result = partial(_set_result, calls)
        self._context = context
        self._driver = driver
        self._listing = ComputeProcesses(driver)
        self._mode = mode
        self._slots = ConstantFacts(calls, (slots,))
        self._request: GpmRequest | None = None
        self._instances: dict[str, _Instance] = {}
        self._resets = calls.resets

    def read(self, handle: Any) -> Facts:
        """`mig`, the instances of now, and `mig_slices`; nothing while MIG is off."""
        self._read_mode(handle)
        if not self._mode.enabled:
            self.free()
            return {}
        if self._resets != self._calls.resets:
            self._resets = self._calls.resets
            for instance in self._instances.values():
                instance.reset()
        for call in (_INSTANCE, _ATTRIBUTES, _MONITOR):
            self._calls.set_result(call, None)
        count = self._slots.read(handle).get("slots", 0)
        found = [reading for slot in range(count) if (reading := self._read_slot(handle, slot)) is not None]
        for uuid in self._instances.keys() - {reading.uuid for reading in found}:
            self._instances.pop(uuid).free()
        # A slice is what the smallest instance has, so that there are as many as there can be instances.
        return {"mig": tuple(found), "mig_slices": count or None}

    def processes(self, handle: Any) -> Facts:
        """`processes` with the instance of each: by one call where that is permitted, else by one each."""
        return self._calls.first(handle, self.processes_of_all, self.processes_of_each)

    def processes_of_all(self, handle: Any) -> Facts:
        migs = {instance.place: uuid for uuid, instance in self._instances.items()}
        return {"processes": self._listing.running(handle, migs)}

    def processes_of_each(self, handle: Any) -> Facts:
        """Of the instances of the last `read`. Raises NVMLError where the driver supports it for none."""
        self._calls.set_result(_PROCESSES, None)
        lists = [each.processes(self._listing) for each in self._instances.values()]
        known = [processes for processes in lists if processes is not None]
        return {"processes": tuple(chain.from_iterable(known))} if known or not lists else {}

    def _read_mode(self, handle: Any) -> None:
        """With MIG on or off a GPU supports different calls: after a change each is tried again."""
        enabled = bool(self._calls.first(handle, mode).get("enabled", self._mode.enabled))
        if enabled != self._mode.enabled:
            self._mode.enabled = enabled
            self._calls.reset()

    def free(self) -> None:
        for instance in self._instances.values():
            instance.free()
        self._instances.clear()

    def _read_slot(self, parent: Any, slot: int) -> MigReading | None:
        """None for an empty slot, which is normal, and for an instance that was destroyed meanwhile."""
        try:
            handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, slot)
            uuid = pynvml.nvmlDeviceGetUUID(handle)
            if uuid not in self._instances:
                self._instances[uuid] = _Instance(uuid, handle, self._new_pair(), self._set_result)
            return self._instances[uuid].read(parent, handle, with_gpm=self._context.may_use_gpm())
        except pynvml.NVMLError as error:
            code = int(error.value)
        if describe(code).meaning is Meaning.ENDED:
            raise_failure(code, "nvmlDeviceGetMigDeviceHandleByIndex")
        self._set_result(_INSTANCE, code)
        return None

    def _new_pair(self) -> GpmPair:
        self._request = self._request or GpmRequest(metrics(self._driver))
        return GpmPair(self._request, self._context.clock, self._calls)


class _Instance:
    """One instance: its constant facts, and its GPM samples."""

    def __init__(self, uuid: str, handle: Any, pair: GpmPair, set_result: Callable[[str, int], None]) -> None:
        self._uuid = uuid
        self._set_result = set_result
        self._gpu_instance = int(pynvml.nvmlDeviceGetGpuInstanceId(handle))
        self._compute_instance = int(pynvml.nvmlDeviceGetComputeInstanceId(handle))
        self._attributes: Facts | None = None
        self._pair = pair
        self._has_gpm = True
        self._handle = handle

    @property
    def place(self) -> Place:
        return self._gpu_instance, self._compute_instance

    def processes(self, listing: ComputeProcesses) -> tuple[GpuProcess, ...] | None:
        """None when it was destroyed. Raises NVMLError where the driver supports it for no instance."""
        try:
            return tuple(replace(one, mig=self._uuid) for one in listing.running(self._handle, {}))
        except pynvml.NVMLError as error:
            code = int(error.value)
            if code != INVALID_ARGUMENT and describe(code).meaning in _REFUSED:
                raise
        self._set_result(_PROCESSES, code)
        return None

    def read(self, parent: Any, handle: Any, *, with_gpm: bool) -> MigReading:
        """Raises NVMLError when the instance was destroyed."""
        self._handle = handle
        if self._attributes is None:
            self._attributes = self._read_attributes(handle)
        return MigReading(
            uuid=self._uuid,
            gpu_instance=self._gpu_instance,
            compute_instance=self._compute_instance,
            gpm=self._gpm(parent) if with_gpm else None,
            **(self._attributes or {}),
            **_memory(handle),
        )

    def reset(self) -> None:
        """Make the calls again that it does not support."""
        self._attributes = self._attributes or None
        self._has_gpm = True

    def free(self) -> None:
        self._pair.free()

    def _read_attributes(self, handle: Any) -> Facts | None:
        """Read until they are known, as they never change; None when the next try may succeed."""
        try:
            return _attributes(handle)
        except pynvml.NVMLError as error:
            code = int(error.value)
        self._set_result(_ATTRIBUTES, code)
        return {} if describe(code).meaning is Meaning.ABSENT else None

    def _gpm(self, parent: Any) -> GpmReading | None:
        if not self._has_gpm:
            return None
        try:
            return self._pair.read(
                lambda sample: pynvml.nvmlGpmMigSampleGet(parent, self._gpu_instance, sample)
            )
        except pynvml.NVMLError as error:
            code = int(error.value)
        if describe(code).meaning is Meaning.ABSENT:
            self._pair.free()
            self._has_gpm = False
        self._set_result(_MONITOR, code)
        return None


def _set_result(calls: GpuCalls, call: str, code: int) -> None:
    if code not in _GONE and describe(code).meaning is not Meaning.ABSENT:
        calls.set_result(call, code)


def mode(handle: Any) -> Facts:
    return {"enabled": pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE}


def slots(handle: Any) -> Facts:
    return {"slots": int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))}


def _attributes(handle: Any) -> Facts:
    attributes = pynvml.nvmlDeviceGetAttributes_v2(handle)
    return {
        "profile": str(pynvml.nvmlDeviceGetName(handle)).rpartition(" MIG ")[2],
        "gpu_slices": int(attributes.gpuInstanceSliceCount),
        "compute_slices": int(attributes.computeInstanceSliceCount),
        "multiprocessors": int(attributes.multiprocessorCount),
    }


def _memory(handle: Any) -> Facts:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return {
        "memory_used_bytes": values.memory_bytes(memory.used, memory.total),
        "memory_reserved_bytes": values.memory_bytes(memory.reserved, memory.total),
        "memory_total_bytes": values.memory_bytes(memory.total, memory.total),
    }
