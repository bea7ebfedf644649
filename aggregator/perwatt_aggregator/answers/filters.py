"""Filters of the inventory answers: which nodes, and which items, the values of a filter keep."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct

from perwatt_aggregator.fleet.groups import Where
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.schema.common import DIMENSIONS, NODE_DIMENSIONS
from perwatt_aggregator.schema.facility import FacilityItem
from perwatt_aggregator.schema.inventory import GpuItem, WorkloadItem

_Values = Callable[[Any], Collection[str]]


def _field(name: str) -> _Values:
    return lambda item: (getattr(item, name) or "",)


_OF_ITEMS: Mapping[type[Struct], Mapping[str, _Values]] = {
    FacilityItem: {"facility": _field("facility")},
    GpuItem: {
        "gpu": _field("gpu"),
        "gpu_model": _field("name"),
        "workload": lambda item: item.workloads or ("",),
    },
    WorkloadItem: {
        "gpu": lambda item: item.gpus or ("",),
        **{
            name: _field(name)
            for name in (
                *("workload", "model", "engine", "group"),
                *("namespace", "pod", "slurm_job", "systemd_unit"),
            )
        },
    },
}
"""What each item shows of the dimensions that are not its node's."""
NODE_FILTERS: tuple[str, ...] = tuple(name for name in DIMENSIONS if name in NODE_DIMENSIONS)


def filters_of(item: type[Struct]) -> tuple[str, ...]:
    """The dimensions by which items of a kind can be filtered, beside those of their nodes."""
    return tuple(_OF_ITEMS.get(item, ()))


def node_matches(node: Node, where: Where) -> bool:
    """Whether the name, the facility and the target labels of *node* are among the values of *where*."""
    own = {"node": node.target.node, "facility": node.facility.name}
    return all(
        own.get(name, node.target.labels.get(name, "")) in values
        for name, values in where.items()
        if name in own or name not in DIMENSIONS
    )


def matches(item: Struct, where: Where) -> bool:
    """Whether *item* shows one of the values of each dimension that it can be filtered by."""
    shown = _OF_ITEMS[type(item)]
    return all(not values.isdisjoint(shown[name](item)) for name, values in where.items() if name in shown)
