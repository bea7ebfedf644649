"""Groups of the fleet: the parts of all nodes, grouped by labels."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from perwatt_aggregator.attribution.part import Part, unreachable
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.schema.common import DIMENSIONS, NODE_DIMENSIONS, Dimension

MAX_GROUPS = 10_000

Where = Mapping[Dimension, frozenset[str]]
"""Filters: the values that are kept of each dimension; an empty value is that of parts without one."""
EVERYTHING: Where = MappingProxyType({})

# Joules of no workload have a value of these dimensions too.
_PLACE_DIMENSIONS = NODE_DIMENSIONS | {"gpu", "gpu_model"}


class TooManyGroups(Exception):
    """A grouping gives more than MAX_GROUPS groups."""


class Group(Struct, frozen=True):
    """
    Parts with the same labels.

    `is_unattributed` if none of them belongs to a workload. `has_whole_groups` if every engine that spans
    several workloads has all its members in the group.
    """

    labels: dict[str, str | None]
    parts: tuple[Part, ...]
    is_unattributed: bool
    has_whole_groups: bool


class Fleet:
    """
    The parts of all nodes, grouped by the dimensions in *by*, and of them those that *where* keeps.

    Parts are filtered after they were divided: a filter changes no part, so that what filters keep adds up to
    the whole. Unless the fleet *is_whole*, it may have more nodes; the `reasons` of all groups say so.
    """

    def __init__(
        self,
        views: Iterable[NodeView],
        by: Sequence[Dimension],
        where: Where = EVERYTHING,
        *,
        is_whole: bool = True,
    ) -> None:
        self.views = {view.node: view for view in views}
        self._where = where
        self._asked = frozenset((*by, *where))
        # Groups of whole nodes, and groups that joules of no workload have their place in.
        self._has_whole_nodes = all(map(_is_of_node, self._asked))
        self._has_places = all(one in _PLACE_DIMENSIONS or _is_of_node(one) for one in self._asked)
        # What is not known to be there is missing where unreachable nodes are, but from no node's own group.
        self.reasons = frozenset[str]()
        if not is_whole and self._has_whole_nodes and "node" not in self._asked:
            self.reasons = frozenset(("targets_unknown",))
        self._by = by
        self._parts = [part for view in self.views.values() for part in self._of(view)]
        self._members: dict[str, int] = {}
        models: dict[str, set[str]] = {}
        known: set[str] = set()
        for part in self._parts:
            group, model = part.owner.group, part.owner.model
            if group:
                self._members[group] = self._members.get(group, 0) + 1
                if model:
                    models.setdefault(group, set()).add(model)
                if part.is_known:
                    known.add(group)
        self._models = {group: names.pop() for group, names in models.items() if len(names) == 1}
        self._known_groups = known

    def is_known(self, part: Part) -> bool:
        """Whether the work of the part is known, its own or that of its engine."""
        return part.is_known or part.owner.group in self._known_groups

    def groups(self) -> tuple[Group, ...]:
        """The groups in order of their labels; without a label last. Raises TooManyGroups."""
        gathered: dict[tuple[str, ...], list[Part]] = {}
        for part in self._parts:
            if self._is_kept(part) and (
                part.owner.workload
                or self._has_places
                or part.energy.meter_joules
                or any(part.energy.leaves.values())
            ):
                gathered.setdefault(self._key(part), []).append(part)
        for key, parts in gathered.items():
            # Any process can claim what it does not use: that is its own figure's fault, and no other's.
            gathered[key] = [part for part in parts if not part.is_unproven] or parts
        if len(gathered) > MAX_GROUPS:
            raise TooManyGroups(f"{len(gathered)} groups, more than {MAX_GROUPS}")
        keys = sorted(gathered, key=lambda key: [(not value, value) for value in key])
        return tuple(self._group(key, gathered[key]) for key in keys)

    def _of(self, view: NodeView) -> tuple[Part, ...]:
        # What is not read is missing from the fleet and from its node's group; its workloads are not known.
        if view.parts is None:
            return (unreachable(view.node, view.gpus),) if self._has_whole_nodes else ()
        parts = view.parts.by_workload
        if "gpu" in self._asked:
            parts = view.parts.by_gpu
        elif "gpu_model" in self._asked:
            parts = view.parts.by_gpu_model
        return (*parts, *view.parts.missing) if self._has_whole_nodes else parts

    def _is_kept(self, part: Part) -> bool:
        return not self._where or all(
            self._label(part, dimension) in values for dimension, values in self._where.items()
        )

    def _key(self, part: Part) -> tuple[str, ...]:
        return tuple(self._label(part, dimension) for dimension in self._by)

    def _label(self, part: Part, dimension: Dimension) -> str:
        if dimension == "facility":
            return self.views[part.owner.node].facility.name
        if dimension == "model" and not part.owner.model:
            # Followers of an engine over several nodes have no page with the model's name.
            return self._models.get(part.owner.group, "")
        if dimension not in DIMENSIONS:
            return self.views[part.owner.node].labels.get(dimension, "")
        label: str = getattr(part.owner, dimension)
        return label

    def _group(self, key: tuple[str, ...], parts: list[Part]) -> Group:
        members: dict[str, int] = {}
        for part in parts:
            if group := part.owner.group:
                members[group] = members.get(group, 0) + 1
        return Group(
            labels={dimension: value or None for dimension, value in zip(self._by, key, strict=True)},
            parts=tuple(parts),
            is_unattributed=not self._has_places and not any(part.owner.workload for part in parts),
            has_whole_groups=all(self._members[group] == count for group, count in members.items()),
        )


def _is_of_node(dimension: Dimension) -> bool:
    return dimension in NODE_DIMENSIONS or dimension not in DIMENSIONS
