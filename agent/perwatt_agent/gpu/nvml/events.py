"""What GPUs tell by themselves: XID errors, from an event set that all GPUs of a generation share."""

import contextlib
import ctypes
from collections import deque
from typing import Any

import pynvml

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.backend import NothingToHear, XidError
from perwatt_agent.gpu.nvml.driver.errors import SUCCESS, Meaning, describe, raise_failure
from perwatt_agent.gpu.nvml.driver.gate import Gate

# A wait is over soon enough for a generation to end. Several in a row wake nobody but their own thread.
WAIT_MILLISECONDS = 2_000
WAITS_IN_A_ROW = 2
REGISTER_AGAIN_SECONDS = 30.0
TIMEOUT = 10


class NvmlWatch:
    """
    Listens to the GPUs of one generation that it was told to `include`, found by their UUIDs.

    GPUs that cannot be listened to for now are tried again, the others are heard meanwhile. A set that
    fails is freed and made anew by the next `wait`; one whose generation is over is left alone, since the
    driver's library may crash on it.
    """

    def __init__(self, clock: Clock, gate: Gate) -> None:
        self._clock = clock
        self._gate = gate
        self._all: list[str] = []
        self._newcomers: deque[str] = deque()
        self._set: Any = None
        self._heard: dict[int | None, str] = {}
        self._missing: list[str] = []
        self._register_at = 0.0

    def include(self, uuid: str) -> None:
        """
        Listen to this GPU as well, or anew, from the next `wait` on; may be called while one is under way.
        """
        self._newcomers.append(uuid)

    def wait(self) -> XidError | None:
        """
        The next XID error, or None when there was none for some seconds, or something changed.

        Raises GpuFailure when the driver cannot be listened to for now, NothingToHear when its GPUs never
        tell, and GenerationEnded.
        """
        for _ in range(WAITS_IN_A_ROW):
            begun = self._clock.monotonic()
            with self._gate:
                heard = self._wait()
            ended_early = self._clock.monotonic() - begun < 0.5 * WAIT_MILLISECONDS / 1000
            if heard is not None or ended_early:
                return heard
        return None

    def _wait(self) -> XidError | None:
        self._welcome()
        if self._set is None:
            self._begin()
        elif self._missing and self._clock.monotonic() >= self._register_at:
            self._register()
        return self._listen()

    def free(self) -> None:
        """Give the set back: only while the generation lives, and no wait is under way."""
        failed, self._set = self._set, None
        if failed is not None:
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(failed)

    def _welcome(self) -> None:
        while self._newcomers:
            uuid = self._newcomers.popleft()
            if uuid not in self._all:
                self._all.append(uuid)
            if uuid not in self._missing:
                self._missing.append(uuid)
            self._register_at = 0.0

    def _begin(self) -> None:
        try:
            self._set = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError as error:
            codes = [int(error.value)]
        else:
            self._heard, self._missing = {}, list(self._all)
            codes = self._register()
        if self._heard and self._set is not None:
            return
        refused = [code for code in codes if describe(code).meaning is not Meaning.ABSENT]
        refused.sort(key=lambda code: describe(code).meaning is not Meaning.ENDED)
        if refused:
            self._fail(refused[0], "nvmlDeviceRegisterEvents")
        self.free()
        raise NothingToHear("no GPU of this driver tells of its errors")

    def _register(self) -> list[int]:
        """Register the GPUs that are missing, and return the codes of those that could not be."""
        self._register_at = self._clock.monotonic() + REGISTER_AGAIN_SECONDS
        failed = {uuid: code for uuid in self._missing if (code := self._register_one(uuid)) != SUCCESS}
        meanings = {uuid: describe(code).meaning for uuid, code in failed.items()}
        self._missing = [uuid for uuid, meaning in meanings.items() if meaning is not Meaning.ABSENT]
        return list(failed.values())

    def _register_one(self, uuid: str) -> int:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._set)
        except pynvml.NVMLError as error:
            return int(error.value)
        self._heard[_address(handle)] = uuid
        return SUCCESS

    def _listen(self) -> XidError | None:
        data = pynvml.c_nvmlEventData_t()
        # Not through the binding's own function, which raises an exception each time that nothing happened.
        try:
            wait = pynvml._nvmlGetFunctionPointer("nvmlEventSetWait_v2")
            code = int(wait(self._set, ctypes.byref(data), ctypes.c_uint(WAIT_MILLISECONDS)))
        except pynvml.NVMLError as error:
            code = int(error.value)
        if code == TIMEOUT:
            return None
        if code != SUCCESS:
            self._fail(code, "nvmlEventSetWait")
        uuid = self._heard.get(_address(data.device))
        is_xid = data.eventType == pynvml.nvmlEventTypeXidCriticalError
        return XidError(uuid, int(data.eventData)) if is_xid and uuid is not None else None

    def _fail(self, code: int, call: str) -> None:
        if describe(code).meaning is Meaning.ENDED:
            self._set = None
        self.free()
        raise_failure(code, call)


def _address(handle: Any) -> int | None:
    """What tells one handle from another: the GPU that an event is about may not answer any more."""
    return ctypes.cast(handle, ctypes.c_void_p).value
