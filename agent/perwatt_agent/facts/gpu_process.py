"""Processes that compute on a GPU, and how much of it each of them uses."""

from msgspec import Struct


class GpuProcess(Struct, frozen=True, omit_defaults=True):
    """
    Process that computes on a GPU, by its id in the agent's PID namespace.

    `sm_ratio` is its SM utilisation since the previous slow read. `mig` is the UUID of the MIG instance in
    which it computes, empty on a GPU without MIG and if it is unknown.
    """

    pid: int
    memory_bytes: int | None = None
    sm_ratio: float | None = None
    mig: str = ""


class ProcessUse(Struct, frozen=True, omit_defaults=True):
    """Use of a GPU by one process; a `pid` of None is the sum of all processes that are not listed."""

    pid: int | None
    memory_bytes: int | None = None
    sm_ratio: float | None = None
