"""One GPU of a driver generation: finds it, reads it, and says what became of it."""

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.gpu.backend import GenerationEnded, GpuFailure
from perwatt_agent.gpu.nvml.driver.calls import Asker
from perwatt_agent.gpu.nvml.driver.context import Tools
from perwatt_agent.gpu.nvml.driver.errors import (
    GPU_NOT_FOUND,
    INVALID_ARGUMENT,
    NOT_FOUND,
    GpuMissing,
    GpuMute,
    raise_failure,
)
from perwatt_agent.gpu.nvml.driver.gate import Gate
from perwatt_agent.gpu.nvml.driver.traits import Traits
from perwatt_agent.gpu.nvml.readers.fast import FastReader
from perwatt_agent.gpu.nvml.readers.gpm import GpmReader
from perwatt_agent.gpu.nvml.readers.mig import MigMode, MigReader
from perwatt_agent.gpu.nvml.readers.slow import SlowReader

R = TypeVar("R")

_NO_SUCH_GPU = (INVALID_ARGUMENT, NOT_FOUND, GPU_NOT_FOUND)

# So long a GPU that refused everything is left alone: each time it takes all its calls, of which most fail.
MUTE_RETRY_SECONDS = 30.0


class Roll:
    """
    Which GPUs of a generation the driver still knows; shared by them all, with the `gate` to the driver.

    Once the generation has `ended`, what was made in it is void and must not be given back.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.ended = False
        self._known: set[str] = set()
        self._missing: set[str] = set()

    def present(self, uuid: str) -> None:
        self._known.add(uuid)
        self._missing.discard(uuid)

    def missing(self, uuid: str) -> None:
        """Raises GenerationEnded when the driver knows none of them any more."""
        self._missing.add(uuid)
        if self._missing >= self._known:
            self.ended = True
            raise GenerationEnded("the driver knows none of its GPUs any more")


class _Readers:
    """What reads one GPU, and what each has learned of what it gives."""

    def __init__(self, asker: Asker, tools: Tools, traits: Traits) -> None:
        mode = MigMode(enabled=traits.mig)
        self._monitor = GpmReader(asker, tools, traits.driver)
        self._mig = MigReader(asker, tools, traits.driver, mode)
        self.fast = FastReader(asker, tools, traits, mode, self._monitor)
        self.slow = SlowReader(asker, tools, traits, mode, self._mig)

    def free(self) -> None:
        self._monitor.free()
        self._mig.free()


class NvmlDevice:
    """
    A GPU by its UUID; the handle is only how it was last found.

    After any failure the next read finds the GPU anew, because a GPU that was reset has a new handle.
    """

    def __init__(self, info: GpuInfo, traits: Traits, handle: Any, roll: Roll, tools: Tools) -> None:
        self._info = info
        self._handle = handle
        self._roll = roll
        self._tools = tools
        self._traits = traits
        self._asker = Asker(info.uuid, tools.clock)
        self._readers = _Readers(self._asker, tools, traits)
        self._mute_since: float | None = None
        roll.present(info.uuid)

    @property
    def info(self) -> GpuInfo:
        return self._info

    def read(self) -> GpuReading:
        return self._call(self._readers.fast.read)

    def read_slow(self) -> GpuSlowReading:
        return self._call(self._readers.slow.read)

    def found(self, handle: Any, info: GpuInfo) -> None:
        """Go on with where the driver has it now; a read that is under way ends with what it began with."""
        self._info = info
        self._handle = handle

    def find_anew(self) -> None:
        """Forget the handle, which may be another GPU's by now."""
        self._handle = None

    def free(self) -> None:
        """Give back what it made in the driver: only while the generation lives, and no read is in flight."""
        self._readers.free()

    def forget(self) -> None:
        """Forget what it has learned of the GPU."""
        self._asker.forget()

    def _call(self, read: Callable[[Any], R]) -> R:
        """Read; what it raises also says how the GPU, or all of them, are."""
        with self._roll.gate:
            if self._mute_since is not None:
                self._listen_anew(self._mute_since)
            try:
                reading = read(self._found_handle())
            except GpuFailure as failure:
                self._handle = None
                if isinstance(failure, GpuMissing):
                    self._roll.missing(self._info.uuid)
                if isinstance(failure, GpuMute) and self._mute_since is None:
                    self._mute_since = self._tools.clock.monotonic()
                raise
            except GenerationEnded:
                self._roll.ended = True
                raise
        self._roll.present(self._info.uuid)
        return reading

    def _listen_anew(self, mute_since: float) -> None:
        """Ask a mute GPU everything again: each gives something, so that what it refused is no news of it."""
        if self._tools.clock.monotonic() - mute_since < MUTE_RETRY_SECONDS:
            return
        self._mute_since = None
        self._readers.free()
        self._asker.forget()
        self._readers = _Readers(self._asker, self._tools, self._traits)

    def _found_handle(self) -> Any:
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
