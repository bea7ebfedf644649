"""Device of the NVML backend: one GPU of a driver generation."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import GenerationEnded, GpuFailure
from perwatt_agent.gpu.nvml.driver.calls import GpuCalls
from perwatt_agent.gpu.nvml.driver.context import Context
from perwatt_agent.gpu.nvml.driver.errors import (
    GPU_NOT_FOUND,
    INVALID_ARGUMENT,
    NOT_FOUND,
    AllCallsRefused,
    GpuMissing,
    raise_failure,
)
from perwatt_agent.gpu.nvml.driver.traits import Traits
from perwatt_agent.gpu.nvml.presence import Presence
from perwatt_agent.gpu.nvml.readers.fast import FastReader
from perwatt_agent.gpu.nvml.readers.gpm import GpmReader
from perwatt_agent.gpu.nvml.readers.mig import MigMode, MigReader
from perwatt_agent.gpu.nvml.readers.slow import SlowReader

R = TypeVar("R")

_NO_SUCH_GPU = (INVALID_ARGUMENT, NOT_FOUND, GPU_NOT_FOUND)

# Wait after a GPU refused every call: to try it again takes all its calls, most of which fail.
REFUSED_RETRY_SECONDS = 30.0


class _Readers:
    """The readers of one GPU."""

    def __init__(self, calls: GpuCalls, context: Context, traits: Traits) -> None:
        mode = MigMode(enabled=traits.mig)
        self._gpm = GpmReader(calls, context, traits.driver)
        self._mig = MigReader(calls, context, traits.driver, mode)
        self.fast = FastReader(calls, context, traits, mode, self._gpm)
        self.slow = SlowReader(calls, context, traits, mode, self._mig)

    def free(self) -> None:
        self._gpm.free()
        self._mig.free()


class NvmlDevice:
    """
    One GPU, identified by its UUID.

    After any failure the next read looks up the handle again, because a GPU that was reset has a new one.
    """

    def __init__(
        self, info: GpuInfo, traits: Traits, handle: Any, presence: Presence, context: Context
    ) -> None:
        self._info = info
        self._handle = handle
        self._presence = presence
        self._context = context
        self._calls = GpuCalls(info.uuid, context.clock)
        self._readers = _Readers(self._calls, context, traits)
        self._refused_since: float | None = None
        presence.set_present(info.uuid)

    @property
    def info(self) -> GpuInfo:
        return self._info

    def read(self) -> GpuReading:
        return self._call(self._readers.fast.read)

    def read_slow(self) -> GpuSlowReading:
        return self._call(self._readers.slow.read)

    def move(self, handle: Any, info: GpuInfo) -> None:
        """Use the GPU's new handle and index; a read that is in flight ends with the old ones."""
        self._info = info
        self._handle = handle

    def drop_handle(self) -> None:
        """Look up the handle again before the next read: it may belong to another GPU by now."""
        self._handle = None

    def free(self) -> None:
        """Free what it made in the driver; only before the generation has ended, with no read in flight."""
        self._readers.free()

    def reset(self) -> None:
        """Forget which calls the GPU does not support."""
        self._calls.reset()

    def _call(self, read: Callable[[Any], R]) -> R:
        """Read within the guard, and keep track of what a failure means for the GPU and its generation."""
        with self._presence.guard:
            if self._refused_since is not None:
                self._retry_refused(self._refused_since)
            try:
                reading = read(self._find_handle())
            except GpuFailure as failure:
                self._handle = None
                if failure.state == "lost":
                    self._calls.reset()  # after its reset it may support others
                if isinstance(failure, GpuMissing):
                    self._presence.set_missing(self._info.uuid)
                if isinstance(failure, AllCallsRefused) and self._refused_since is None:
                    self._refused_since = self._context.clock.monotonic()
                raise
            except GenerationEnded:
                self._presence.ended = True
                raise
        self._presence.set_present(self._info.uuid)
        return reading

    def _retry_refused(self, refused_since: float) -> None:
        """After a while make every call again: no GPU really supports none, so the refusals meant nothing."""
        if self._context.clock.monotonic() - refused_since < REFUSED_RETRY_SECONDS:
            return
        self._refused_since = None
        self._calls.reset()

    def _find_handle(self) -> Any:
        handle = self._handle
        if handle is None:
            handle = self._handle = _find(self._info.uuid)
        return handle


def _find(uuid: str) -> Any:
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError as error:
        code = int(error.value)
    return raise_failure(GPU_NOT_FOUND if code in _NO_SUCH_GPU else code, "nvmlDeviceGetHandleByUUID")
