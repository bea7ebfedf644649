"""Events of a simulated fleet: what is planned, and what happened."""

from typing import Literal

from msgspec import Struct

PlannedKind = Literal[
    "reboot",
    "agent_restart",
    "engine_restart",
    "replace",
    "end",
    "birth",
    "gpu_lost",
    "straggler",
    "pause",
    "slow",
    "frozen",
    "unreachable",
]
"""
reboot: the node is down; its counters and workloads begin again.
agent_restart: the page is gone, counters go on.
engine_restart: tokens begin again, the workload stays.
replace: a workload ends and its successor is born. end, birth: one of the two.
gpu_lost: a GPU falls off the bus until the node is repaired, by a reboot.
straggler: a workload makes fewer tokens. pause: it gets no requests.
slow, frozen, unreachable: the page comes late, never, or not at all.
"""
FollowingKind = Literal["boot", "agent_up", "serving", "straggler_end", "pause_end", "reachable"]
"""What follows from a planned event later."""
EventKind = PlannedKind | FollowingKind


class PlannedEvent(Struct, frozen=True):
    """
    An event to come. `slot` is the place of a workload on its node, `gpu` the index of a GPU.

    `seconds` is how long it lasts. `factor` is a straggler's share of its tokens, or the delay of a slow
    page in seconds.
    """

    unix_seconds: float
    kind: PlannedKind
    node: int
    slot: int = 0
    gpu: int = 0
    seconds: float = 0.0
    factor: float = 1.0


class FleetEvent(Struct, frozen=True):
    """An event that happened, in the truth. `workload` and `gpu` are empty if it is not about one."""

    unix_seconds: float
    kind: EventKind
    node: str
    workload: str = ""
    gpu: str = ""
