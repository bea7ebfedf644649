"""Board joules of a node by owner and leaf of the ledger: each joule is in exactly one of them."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.window.window import GpuWindow, NodeWindow, StateJoules, WorkloadWindow

ACTIVE = leaves.ACTIVE.name
"""Joules while a workload served; their division into useful and wasted follows in the ledger."""
# Relative rounding error of a sum of joules.
_ROUNDING_ERROR = 1e-12

Leaves = dict[str, float]
WorkKey = tuple[str, str]
"""A workload and one of its models."""


class BoardLeaves(Struct, frozen=True):
    """Board joules by leaf: of each workload, model and GPU, and of each GPU what belongs to no workload."""

    by_workload: dict[tuple[WorkKey, str], Leaves]
    unattributed: dict[str, Leaves]


def board_leaves(window: NodeWindow) -> BoardLeaves:
    """
    Divide all board joules of *window*.

    Joules that are not attributed yet go to the holders of the GPU as `waiting`, in proportion to their
    attributed joules; if nobody holds it, they belong to no workload.
    """
    holders: dict[str, list[WorkloadWindow]] = defaultdict(list)
    for work in window.workloads:
        for gpu in work.joules:
            holders[gpu].append(work)
    by_workload = {
        (_key(work), gpu): _of_state(joules, work.has_served)
        for work in window.workloads
        for gpu, joules in work.joules.items()
    }
    unattributed: dict[str, Leaves] = {}
    for board in window.gpus:
        own_leaves = {leaves.UNALLOCATED: board.unallocated_joules, leaves.UNKNOWN: board.unknown_joules}
        own = [by_workload[_key(work), board.gpu] for work in holders[board.gpu]]
        _add_waiting(_waiting(board, own), own or [own_leaves])
        unattributed[board.gpu] = own_leaves
    return BoardLeaves(by_workload, unattributed)


def _key(work: WorkloadWindow) -> WorkKey:
    return work.workload, work.model


def _of_state(joules: StateJoules, has_served: bool) -> Leaves:
    resting = leaves.IDLE if has_served else leaves.ALLOCATED_EMPTY
    return {ACTIVE: joules.active, resting: joules.idle, leaves.LOADING: joules.loading}


def _waiting(board: GpuWindow, own: Iterable[Leaves]) -> float:
    """Joules of the board that are not attributed yet."""
    if board.energy_joules is None:
        return 0.0
    waiting = board.energy_joules - board.unattributed_joules - sum(sum(one.values()) for one in own)
    return waiting if abs(waiting) > _ROUNDING_ERROR * board.energy_joules else 0.0


def _add_waiting(waiting: float, owners: list[Leaves]) -> None:
    given = [sum(one.values()) for one in owners]
    total = sum(given)
    for one, joules in zip(owners, given, strict=True):
        one[leaves.WAITING] = waiting * (joules / total if total else 1.0 / len(owners))
