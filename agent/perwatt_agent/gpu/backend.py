"""What a source of GPU readings must offer, and how it says that it cannot."""

from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading


class BackendUnavailable(Exception):
    """
    The backend does not answer (no driver yet, driver gone); the agent goes on and tries again.

    `reason` is a short closed word for labels, the message says what happened and what cures it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BackendBroken(BackendUnavailable):
    """Only a new process can cure this (the driver was replaced under us): exit for the supervisor."""


class GenerationEnded(Exception):
    """The driver was reloaded: every handle is void and the backend must be opened again."""


class GpuFailure(Exception):
    """
    One GPU could not be read; the others are not concerned.

    `state` is what the GPU is now, `reason` a short closed word for labels.
    """

    def __init__(self, state: Literal["lost", "error"], reason: str, message: str) -> None:
        super().__init__(message)
        self.state: Literal["lost", "error"] = state
        self.reason = reason


class NothingToHear(Exception):
    """The GPUs of this generation do not tell of their errors by themselves, and never will."""


class XidError(NamedTuple):
    """An error that a GPU told of by itself; `code` is NVIDIA's number, 999 where the driver has no name."""

    uuid: str
    code: int


class Watch(Protocol):
    """What the GPUs of a generation tell by themselves; never called twice at the same time."""

    def wait(self) -> XidError | None:
        """
        Block until a GPU tells of an error; None when none did for some seconds, or sooner.

        Raises GpuFailure when nothing can be heard for now, NothingToHear and GenerationEnded.
        """


class Device(Protocol):
    """
    One GPU of a driver generation. Every method may block, and no two are called at the same time.

    Raises GpuFailure when this GPU fails and GenerationEnded when the driver went away.
    """

    @property
    def info(self) -> GpuInfo: ...

    def read(self) -> GpuReading: ...

    def read_slow(self) -> GpuSlowReading: ...


class Roster(Protocol):
    """Which GPUs a generation has by now: some come, go, move, or say late who they are."""

    @property
    def has_news(self) -> bool:
        """Whether a GPU that kept silent has answered since the last call; this asks nobody, at once."""

    def call(self) -> "Generation":
        """
        The generation as it is now, the same object while nothing has changed; on the backend's lane only.

        Raises BackendUnavailable where that cannot be had, and the generation goes on as it was.
        """


class Generation(Struct, frozen=True):
    """
    One life of the driver: its versions and its GPUs; `unidentified` GPUs are there but dead.

    `watch` hears what GPUs tell by themselves, `roster` says who comes and goes; None where they cannot.
    """

    driver_version: str
    nvml_version: str
    devices: tuple[Device, ...]
    unidentified: int = 0
    watch: Watch | None = None
    roster: Roster | None = None


class Backend(Protocol):
    """
    A source of GPU readings. `open` and `close` may block and are called on one lane only.

    `open` starts a new generation and raises BackendUnavailable or BackendBroken; `close` ends it
    and must not be called while any device call is in flight. `name` is nvml, simulated or replay.
    """

    @property
    def name(self) -> str: ...

    def open(self) -> Generation: ...

    def close(self) -> None: ...
