"""Groups of the fleet: the parts of all nodes, grouped by labels."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from perwatt_aggregator.attribution.part import Part, unreachable
from perwatt_aggregator.fleet.share import NodeShare, Share, Shares
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
    Parts with the same labels, as `shares` of their nodes.

    `is_unattributed` if none of them belongs to a workload. `has_whole_groups` if every engine that spans
    several workloads has all its members in the group.
    """

    labels: dict[str, str | None]
    shares: tuple[NodeShare, ...]
    is_unattributed: bool
    has_whole_groups: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts; each call puts them together."""
        return tuple(part for _, share in self.shares for part in share.parts)


class Fleet:
    """
    The parts of all nodes, grouped by the dimensions in *by*, and of them those that *where* keeps.

    Parts are filtered after they were divided: a filter changes no part, so that what filters keep adds up to
    the whole. Unless the fleet *is_whole*, it may have more nodes; the `reasons` of all groups say so.
    `known_groups` are the engines over several nodes whose work is known.
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
        grouping = tuple(by), frozenset(where.items())
        # Of a node with members of engines over several nodes, the labels depend on the other members.
        self._models: dict[str, str] = {}
        self._shares: dict[str, Shares | None] = {}
        members = list[Part]()
        for node, view in self.views.items():
            cache = view.shares
            shares: Shares | None = None if cache is None else cache.get(grouping)
            if shares is None:
                own = [part for part in self._of(view) if part.owner.group]
                members += own
                if not own:
                    shares = self._divided(view)
                    if cache is not None:
                        cache.keep(grouping, shares)
            self._shares[node] = shares
        self._members = Tally(part.owner.group for part in members)
        self._models = _models(members)
        self.known_groups = frozenset(part.owner.group for part in members if part.is_known)

    def groups(self) -> tuple[Group, ...]:
        """The groups in order of their labels; without a label last. Raises TooManyGroups."""
        gathered: dict[tuple[str, ...], list[NodeShare]] = {}
        for node, view in self.views.items():
            shares = self._shares[node]
            for key, share in self._divided(view) if shares is None else shares:
                gathered.setdefault(key, []).append((view, share))
        if len(gathered) > MAX_GROUPS:
            raise TooManyGroups(f"{len(gathered)} groups, more than {MAX_GROUPS}")
        keys = sorted(gathered, key=lambda key: [(not value, value) for value in key])
        return tuple(self._group(key, _proven(gathered[key])) for key in keys)

    def _divided(self, view: NodeView) -> Shares:
        """The parts of a node that are kept, by their labels."""
        gathered: dict[tuple[str, ...], list[Part]] = {}
        for part in self._of(view):
            if self._is_kept(part) and (
                part.owner.workload
                or self._has_places
                or part.energy.meter_joules
                or any(part.energy.leaves.values())
            ):
                gathered.setdefault(self._key(part), []).append(part)
        return tuple((key, Share(parts)) for key, parts in gathered.items())

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

    def _group(self, key: tuple[str, ...], shares: Sequence[NodeShare]) -> Group:
        members = Tally(group for _, share in shares for group in share.engine_groups)
        return Group(
            labels={dimension: value or None for dimension, value in zip(self._by, key, strict=True)},
            shares=tuple(shares),
            is_unattributed=not self._has_places and not any(share.has_workload for _, share in shares),
            has_whole_groups=all(self._members[group] == count for group, count in members.items()),
        )


def _models(members: Iterable[Part]) -> dict[str, str]:
    """The model of each engine over several nodes, if it has one."""
    models: dict[str, set[str]] = {}
    for part in members:
        if part.owner.model:
            models.setdefault(part.owner.group, set()).add(part.owner.model)
    return {group: names.pop() for group, names in models.items() if len(names) == 1}


def _proven(shares: Sequence[NodeShare]) -> Sequence[NodeShare]:
    """
    The shares without the parts that are not proven, unless there are no others.

    Any process can claim what it does not use: that is its own figure's fault, and no other's.
    """
    if not any(share.has_unproven for _, share in shares):
        return shares
    proven = ((view, share if not share.has_unproven else _of_proven(share)) for view, share in shares)
    return [(view, share) for view, share in proven if share.parts] or shares


def _of_proven(share: Share) -> Share:
    return Share(part for part in share.parts if not part.is_unproven)


def _is_of_node(dimension: Dimension) -> bool:
    return dimension in NODE_DIMENSIONS or dimension not in DIMENSIONS
