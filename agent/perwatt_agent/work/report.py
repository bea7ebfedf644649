"""Report of work by a job, and the answer to it."""

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct

from perwatt_agent.facts.workload import Role

MAX_WORK = 2.0**53
"""The largest total: above it, a float cannot count by ones."""

MAX_GPUS = 64

Scope = Literal["global", "rank"]
Amount = Annotated[float, Meta(ge=0.0, le=MAX_WORK)]
GpuName = (
    Annotated[int, Meta(ge=0, le=9999)] | Annotated[str, Meta(pattern=r"\A(GPU|MIG|SIM)-[!-~]{1,100}\Z")]
)


class WorkReport(Struct, frozen=True, forbid_unknown_fields=True):
    """
    One report of one unit of work of one job: a cumulative `total`, or an `increment` with its `key`.

    `scope` is "global" for a count of the whole job on this node, or "rank" for the count of one `rank`,
    which adds to those of the other ranks. `gpus` are the driver's indices or UUIDs, or "all"; None leaves
    them unchanged. `pid` is the process that computes on them: the GPUs are claimed for nobody else.
    `done` ends the job, or the part of this rank. Decoding checks the values. ValueError names fields that
    contradict each other.
    """

    job: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:@+-]{0,99}\Z")]
    unit: Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
    total: Amount | None = None
    increment: Amount | None = None
    key: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    gpus: Literal["all"] | Annotated[tuple[GpuName, ...], Meta(max_length=MAX_GPUS)] | None = None
    model: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z")] | None = None
    role: Role | None = None
    scope: Scope = "global"
    rank: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    done: bool = False
    pid: Annotated[int, Meta(ge=1, le=2**22)] | None = None

    def __post_init__(self) -> None:
        if (self.total is None) == (self.increment is None):
            raise ValueError("give either `total` or `increment`")
        if not math.isfinite(self.amount):
            raise ValueError("the amount must be finite")
        if (self.increment is None) != (self.key is None):
            raise ValueError("`increment` and `key` go together: the key identifies a repeated report")
        if self.scope == "rank" and self.rank is None:
            raise ValueError("scope rank needs `rank`")

    @property
    def amount(self) -> float:
        """The total, or the increment."""
        return (self.total if self.total is not None else self.increment) or 0.0

    @property
    def counting_mode(self) -> str:
        """How the job counts this unit. It must not change until the job ends."""
        return f"{'totals' if self.total is not None else 'increments'} of scope {self.scope}"


class WorkAccepted(Struct, frozen=True, omit_defaults=True):
    """
    Answer to a report: the job's count of this unit now, and the UUIDs of its GPUs.

    `unproven_gpus` are those that it claims and on which the driver does not list its process.
    """

    job: str
    unit: str
    total: float
    gpus: tuple[str, ...]
    unproven_gpus: tuple[str, ...] = ()


class WorkRejected(Exception):
    """
    The report was rejected and changed nothing.

    `reason` is "full" (a limit is reached), or "conflict" (it contradicts an earlier report).
    """

    def __init__(self, reason: Literal["full", "conflict"], message: str) -> None:
        super().__init__(message)
        self.reason = reason
