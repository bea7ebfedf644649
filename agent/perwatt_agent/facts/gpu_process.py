"""Processes that compute on a GPU, and how much of it each of them uses."""

from msgspec import Struct


class GpuProcess(Struct, frozen=True, omit_defaults=True):
    """
    Process that computes on a GPU, by its id in the agent's PID namespace.

    `sm_ratio` is its SM utilisation since the previous slow read. `mig` is the UUID of the MIG instance in
    which it computes, empty on a GPU without MIG and if it is unknown. `draws` says that it is a graphics
    process too, such as the compositor of a desktop, which holds the GPU for as long as the screen is on.
    """

    pid: int
    memory_bytes: int | None = None
    sm_ratio: float | None = None
    mig: str = ""
    draws: bool = False

    @property
    def is_work(self) -> bool:
        """Whether it counts as use of the GPU: a process that draws only does if it had SM time."""
        return not self.draws or bool(self.sm_ratio)


class ProcessUse(Struct, frozen=True, omit_defaults=True):
    """Use of a GPU by one process; a `pid` of None is the sum of all processes that are not listed."""

    pid: int | None
    memory_bytes: int | None = None
    sm_ratio: float | None = None
