"""
GPU backend: the Protocol that each vendor implements, and the exceptions by which it reports failures.

A vendor implements `Backend` and `Device`. `EventSource` and `Inventory` are optional.
"""

from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading


class BackendUnavailable(Exception):
    """
    The backend does not answer: the driver is absent, or went away. The agent goes on and tries again.

    `reason` is a short word from a closed list, for labels. The message says what happened and how to fix it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BackendBroken(BackendUnavailable):
    """Only a new process can fix this: the driver was replaced while it was in use. The agent exits."""


class GenerationEnded(Exception):
    """The driver was reloaded: every handle is void, and the backend must be opened again."""


class GpuFailure(Exception):
    """
    One GPU could not be read. The other GPUs are not affected.

    `state` is the state of the GPU from now on, `reason` a short word from a closed list, for labels.
    """

    def __init__(self, state: Literal["lost", "error"], reason: str, message: str) -> None:
        super().__init__(message)
        self.state: Literal["lost", "error"] = state
        self.reason = reason


class EventsUnsupported(Exception):
    """The GPUs of this generation report no events, and never will."""


class XidError(NamedTuple):
    """An error event of a GPU. `code` is NVIDIA's XID number, 999 where the driver has no name for it."""

    uuid: str
    code: int


class EventSource(Protocol):
    """Events that the GPUs of a generation report. `wait` is never called twice at the same time."""

    def wait(self) -> XidError | None:
        """
        Block until a GPU reports an error; None when none did for some seconds, or sooner.

        Raises GpuFailure when events cannot be read for now, EventsUnsupported and GenerationEnded.
        """


class Device(Protocol):
    """
    One GPU of a driver generation.

    Each method may block. The agent calls them on its own threads, for one GPU never two at the same time.
    A method returns what it read, or raises: GpuFailure when this GPU fails, GenerationEnded when the driver
    went away.
    """

    @property
    def info(self) -> GpuInfo: ...

    def read(self) -> GpuReading:
        """What changes each second."""

    def read_slow(self) -> GpuSlowReading:
        """What changes rarely, every 10 to 15 seconds."""


class Inventory(Protocol):
    """The GPUs of a generation, which may be added, removed or moved while the driver runs."""

    @property
    def is_outdated(self) -> bool:
        """Whether a GPU that did not identify itself has answered since the last `refresh`; never blocks."""

    def refresh(self) -> "Generation":
        """
        The generation as it is now: the same object while nothing has changed. May block.

        Raises BackendUnavailable where the driver does not answer; the generation goes on as it was.
        """


class Generation(Struct, frozen=True):
    """
    The driver from one `open` to the next: its versions and its GPUs.

    `unidentified` counts GPUs that are present but did not identify themselves. `events` and `inventory` are
    None where the backend has none.
    """

    driver_version: str
    nvml_version: str
    devices: tuple[Device, ...]
    unidentified: int = 0
    events: EventSource | None = None
    inventory: Inventory | None = None


class Backend(Protocol):
    """
    A source of GPU readings. `name` is nvml, simulated or replay.

    Both methods may block; they and `Inventory.refresh` are called on one thread.
    """

    @property
    def name(self) -> str: ...

    def open(self) -> Generation:
        """Start a generation. Raises BackendUnavailable or BackendBroken."""

    def close(self) -> None:
        """End the generation. Must not be called while a call of a device is in flight."""
