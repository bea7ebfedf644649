"""Unmeasured boards: the boundaries at which joules that no board meter has make a figure not valid."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from perwatt_aggregator.attribution.node_parts import NodeParts
from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.validity.thresholds import MAX_DISPUTED_RATIO

# Rounding error of a sum of joules.
_ROUNDING_ERROR = 1e-9


def reasons_at_boards(parts: Iterable[Part]) -> frozenset[str]:
    """The reasons of a group of *parts* at its boards."""
    return frozenset(("gpu_unmeasurable",) if any(part.gpus.unmeasured for part in parts) else ())


def reasons_at_node(parts: Iterable[Part], views: Mapping[str, NodeView]) -> frozenset[str]:
    """
    The reasons of a group of *parts* at the node and at the facility.

    A node's meter has the joules of all its boards. But they are divided by board joules: what a board used
    that was not measured, or measured wrongly, goes to the other work on its node, or to another time.
    """
    by_node: dict[str, list[Part]] = {}
    for part in parts:
        by_node.setdefault(part.owner.node, []).append(part)
    return frozenset(
        reason for node, own in by_node.items() for reason in reasons_of_share(own, views[node].parts)
    )


def reasons_of_share(own: Sequence[Part], node: NodeParts | None) -> Iterator[str]:
    """The same of *own*, parts of one node."""
    if node is None:
        return
    if not node.factor.has_meter:
        yield from reasons_at_boards(own)
        return
    holders = node.unmeasured_holders
    # Tokens without joules of their own are left out, while the node's joules have theirs.
    if holders and not (_has_all_joules(own, node) and all(part.energy.is_measured for part in holders)):
        yield "gpu_unmeasurable"
    if not node.has_all_boards:
        yield "gpus_missing"
    if is_disputed(node.by_workload):
        yield "energy_meters_disagree"


def _has_all_joules(own: Iterable[Part], node: NodeParts) -> bool:
    return _joules(own) >= (1.0 - _ROUNDING_ERROR) * _joules(node.by_workload)


def _joules(parts: Iterable[Part]) -> float:
    return sum(part.energy.joules or 0.0 for part in parts)


def is_disputed(parts: Iterable[Part]) -> bool:
    """Whether a GPU's own power contradicts its counter in more than a small share of the joules."""
    disputed = drawn = 0.0
    for part in parts:
        disputed += part.energy.disputed_joules
        drawn += part.energy.drawn_joules
    return disputed > MAX_DISPUTED_RATIO * drawn
