"""Error events of GPUs (XID), from one NVML event set for all GPUs of a generation."""

import contextlib
import ctypes
from collections import deque
from typing import Any

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.backend import EventsUnsupported, XidError
from perwatt_agent.gpu.nvml.driver.calls import REFUSED_RETRY_SECONDS
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS, Meaning, describe, raise_failure
from perwatt_agent.gpu.nvml.driver.shutdown_guard import ShutdownGuard

# Short enough for a generation to end. Several waits in a row wake only their own thread.
WAIT_MILLISECONDS = 2_000
WAITS_IN_A_ROW = 2
REGISTER_AGAIN_SECONDS = 30.0
TIMEOUT = 10


class NvmlEvents:
    """
    Reads the events of the GPUs that were added, by UUID.

    A GPU that cannot be registered for now is tried again; meanwhile the events of the others are read. A set
    that fails is freed, and the next `wait` makes a new one. A set whose generation has ended is not freed,
    because NVML may crash on it.
    """

    def __init__(self, clock: Clock, guard: ShutdownGuard) -> None:
        self._clock = clock
        self._guard = guard
        self._all: list[str] = []
        self._added: deque[str] = deque()
        self._set: Any = None
        self._registered: dict[int | None, str] = {}
        self._missing: list[str] = []
        self._register_at = 0.0

    def add(self, uuid: str) -> None:
        """Register this GPU, or register it again, with the next `wait`. May be called during a `wait`."""
        self._added.append(uuid)

    def wait(self) -> XidError | None:
        """
        The next XID error, or None when there was none for some seconds, or something changed.

        Raises GpuFailure when events cannot be read for now, EventsUnsupported when no GPU ever reports one,
        and GenerationEnded.
        """
        for _ in range(WAITS_IN_A_ROW):
            started = self._clock.monotonic()
            with self._guard:
                event = self._wait()
            ended_early = self._clock.monotonic() - started < 0.5 * WAIT_MILLISECONDS / 1000
            if event is not None or ended_early:
                return event
        return None

    def _wait(self) -> XidError | None:
        self._take_added()
        if self._set is None:
            self._create_set()
        elif self._missing and self._clock.monotonic() >= self._register_at:
            self._register()
        return self._next_event()

    def free(self) -> None:
        """Free the set: only before the generation has ended, and with no wait in flight."""
        failed, self._set = self._set, None
        if failed is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(failed)

    def _take_added(self) -> None:
        while self._added:
            uuid = self._added.popleft()
            if uuid not in self._all:
                self._all.append(uuid)
            if uuid not in self._missing:
                self._missing.append(uuid)
            self._register_at = 0.0

    def _create_set(self) -> None:
        try:
            self._set = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            codes = [int(error.value)]
        else:
            self._registered, self._missing = {}, list(self._all)
            codes = self._register()
        if self._registered and self._set is not None:
            return
        refused = [code for code in codes if describe(code).meaning is not Meaning.ABSENT]
        refused.sort(key=lambda code: describe(code).meaning is not Meaning.ENDED)
        if refused:
            self._fail(refused[0], "nvmlDeviceRegisterEvents")
        self.free()
        raise EventsUnsupported("no GPU of this driver reports its errors")

    def _register(self) -> list[int]:
        """Register the GPUs that are missing, and return the codes of those that could not be."""
        failed = {uuid: code for uuid in self._missing if (code := self._register_one(uuid)) != SUCCESS}
        are_refused = all(describe(code).meaning is Meaning.ABSENT for code in failed.values())
        wait_seconds = REFUSED_RETRY_SECONDS if are_refused else REGISTER_AGAIN_SECONDS
        self._missing, self._register_at = list(failed), self._clock.monotonic() + wait_seconds
        return list(failed.values())

    def _register_one(self, uuid: str) -> int:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        except pynvml.NVMLError as error:
            return int(error.value)
        self._registered[_address(handle)] = uuid
        return SUCCESS

    def _next_event(self) -> XidError | None:
        data = pynvml.c_nvmlEventData_t()
        # Not through the binding's function, which raises an exception for each wait without an event.
        try:
            wait = pynvml._nvmlGetFunctionPointer("nvmlEventSetWait_v2")
            code = int(wait(self._set, ctypes.byref(data), ctypes.c_uint(WAIT_MILLISECONDS)))
        except pynvml.NVMLError as error:
            code = int(error.value)
        if code == TIMEOUT:
            return None
        if code != SUCCESS:
            self._fail(code, "nvmlEventSetWait")
        uuid = self._registered.get(_address(data.device))
        is_xid = data.eventType == pynvml.nvmlEventTypeXidCriticalError
        return XidError(uuid, int(data.eventData)) if is_xid and uuid is not None else None

    def _fail(self, code: int, call: str) -> None:
        if describe(code).meaning is Meaning.ENDED:
            self._set = None
        self.free()
        raise_failure(code, call)


def _address(handle: Any) -> int | None:
    """The identity of a handle. Its UUID is not read: the GPU of an event may not answer any more."""
    return ctypes.cast(handle, ctypes.c_void_p).value
