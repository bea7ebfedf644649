"""Processes that compute on a GPU, and how much of it each of them uses."""

from msgspec import Struct


class GpuProcess(Struct, frozen=True, omit_defaults=True):
    """
    A process that computes on a GPU, by its id in the agent's PID namespace.

    `sm_ratio` is its SM utilisation since the slow read before. `mig` is the UUID of the MIG instance in
    which it computes, empty on a whole GPU and where that is not known.
    """

    pid: int
    memory_bytes: int | None = None
    sm_ratio: float | None = None
    mig: str = ""


class ProcessUse(Struct, frozen=True, omit_defaults=True):
    """How much of a GPU one process uses; a `pid` of None stands for all that are not listed, together."""

    pid: int | None
    memory_bytes: int | None = None
    sm_ratio: float | None = None
