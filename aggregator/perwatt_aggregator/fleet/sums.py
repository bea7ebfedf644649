"""Sums over the parts of a group: energy at each boundary, work, cost, and the time that they cover."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.fleet.bill import Bill, bill_of
from perwatt_aggregator.fleet.groups import Fleet, Group
from perwatt_aggregator.fleet.late import late_ratio
from perwatt_aggregator.fleet.unmeasured import is_disputed, reasons_at_boards, reasons_at_node
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.fleet.work import Work, without_joules, work_of
from perwatt_aggregator.schema.common import Boundary, Window
from perwatt_aggregator.schema.instants import mean_window
from perwatt_aggregator.validity.thresholds import MAX_FEW_READINGS_RATIO, MAX_LATE_RATIO
from perwatt_aggregator.validity.uncertainty import combined, of_late, of_sum


class Energy(Struct, frozen=True):
    """Energy at one boundary. `active_joules` are those while a workload served; None if not known."""

    joules: float
    active_joules: float | None
    known_joules: float
    power_watts: float

    @property
    def idle_joules(self) -> float | None:
        return None if self.active_joules is None else max(0.0, self.joules - self.active_joules)


class BoundarySums(Struct, frozen=True):
    """Energy of a group at one boundary, and what qualifies it; `uncertainty_ratio` is None if not known."""

    energy: Energy | None
    coverage_ratio: float
    uncertainty_ratio: float | None
    provenance: frozenset[str]
    reasons: frozenset[str]


class Sums(Struct, frozen=True):
    """
    Sums of one group at all boundaries; the gap, the age and the time to fill the window are the largest of
    its nodes. `fill_seconds` is None while a node cannot be read.
    """

    group: Group
    work: Work
    window: Window | None
    by_boundary: dict[Boundary, BoundarySums]
    bill: Bill
    largest_gap_seconds: float | None
    age_seconds: float | None
    fill_seconds: float | None
    unmeasured_gpus: tuple[str, ...]
    reasons: frozenset[str]


def sums_of(group: Group, fleet: Fleet) -> Sums:
    """Add up the parts of *group*."""
    views = [fleet.views[node] for node in {part.owner.node for part in group.parts}]
    reached = [view.parts for view in views if view.parts is not None]
    board_sources = frozenset(source for part in group.parts for source in part.energy.provenance)
    if _is_estimated(group.parts, fleet):
        board_sources |= {"estimated"}
    node_sources = board_sources.union(*(parts.factor.provenance for parts in reached))
    node_reasons = frozenset[str]().union(*(parts.factor.reasons for parts in reached))
    node_reasons |= reasons_at_node(group.parts, fleet.views)
    facility_reasons = node_reasons.union(*(view.facility.reasons for view in views))
    return Sums(
        group=group,
        work=work_of(group.parts),
        window=mean_window(map(_weighed_span, group.parts)),
        by_boundary={
            "gpu_board": _at_boundary(
                group.parts, fleet, "gpu_board", board_sources, reasons_at_boards(group.parts)
            ),
            "node": _at_boundary(group.parts, fleet, "node", node_sources, node_reasons),
            "facility": _at_boundary(group.parts, fleet, "facility", node_sources, facility_reasons),
        },
        bill=bill_of(group.parts, fleet),
        largest_gap_seconds=max((parts.largest_gap_seconds for parts in reached), default=None),
        age_seconds=max((view.age_seconds for view in views if view.age_seconds is not None), default=None),
        fill_seconds=_longest([view.fill_seconds for view in views]),
        unmeasured_gpus=tuple(sorted({gpu for part in group.parts for gpu in part.gpus.unmeasured})),
        reasons=frozenset(_reasons(group, views)) | fleet.reasons,
    )


def _longest(waits: Sequence[float | None]) -> float | None:
    """The longest of the *waits*; None if one of them has no known end."""
    known = [wait for wait in waits if wait is not None]
    return max(known, default=None) if len(known) == len(waits) else None


def _weighed_span(part: Part) -> tuple[float, float, float]:
    return part.span.start_unix, part.span.end_unix, part.gpus.weight


def _is_estimated(parts: Sequence[Part], fleet: Fleet) -> bool:
    """Whether *parts* have some, but not all, of a GPU whose division is an estimate."""
    estimated = {(part.owner.node, gpu) for part in parts for gpu in part.gpus.estimated}
    nodes = [fleet.views[node].parts for node in {node for node, _ in estimated}]
    others = (part for node in nodes if node is not None for part in node.by_workload)
    return _owners(estimated, parts) != _owners(estimated, others)


def _owners(gpus: Collection[tuple[str, str]], parts: Iterable[Part]) -> set[tuple[str, str, str, str]]:
    return {
        (part.owner.node, gpu, part.owner.workload, part.owner.model)
        for part in parts
        for gpu in part.gpus.uuids
        if (part.owner.node, gpu) in gpus
    }


def _at_boundary(
    parts: Sequence[Part],
    fleet: Fleet,
    boundary: Boundary,
    provenance: frozenset[str],
    reasons: frozenset[str],
) -> BoundarySums:
    coverage_ratio = _coverage_ratio(parts, fleet.views, at_node=boundary != "gpu_board")
    energy = _energy(parts, fleet, boundary)
    of_parts = None if energy is None else of_sum(_joules_with_uncertainty(parts, fleet, boundary))
    uncertainty_ratio = combined(of_parts, of_late(late_ratio(parts)))
    return BoundarySums(energy, coverage_ratio, uncertainty_ratio, provenance, reasons)


def _joules_with_uncertainty(
    parts: Sequence[Part], fleet: Fleet, boundary: Boundary
) -> Iterator[tuple[float, float | None]]:
    """Each part's joules at *boundary*, and their relative uncertainty."""
    for part in parts:
        view = fleet.views[part.owner.node]
        yield view.joules_at(boundary, part) or 0.0, view.uncertainty_at(boundary, part)


def _reasons(group: Group, views: Sequence[NodeView]) -> Iterator[str]:
    """The reasons of a group that do not depend on a boundary."""
    for part in group.parts:
        yield from part.reasons
    for view in views:
        yield from view.reasons
    if any(part.counts and part.counts.is_known for part in without_joules(group.parts)):
        yield "tokens_uncovered"
    if any(view.stale for view in views):
        yield "stale"
    if not all(view.parts.filled for view in views if view.parts is not None):
        yield "window_not_filled"
    if _few_readings(group.parts):
        yield "too_few_readings"
    if is_disputed(group.parts):
        yield "energy_meters_disagree"
    if late_ratio(group.parts) > MAX_LATE_RATIO:
        yield "spans_differ"
    if not group.has_whole_groups:
        yield "shared_group"


def _energy(parts: Sequence[Part], fleet: Fleet, boundary: Boundary) -> Energy | None:
    """
    Add up the parts' joules at *boundary*.

    None if nothing was measured, or if a part is not known at that boundary: a sum without it would be
    another quantity.
    """
    joules = known = power = 0.0
    active: float | None = 0.0
    found = False
    for part in parts:
        view = fleet.views[part.owner.node]
        own = view.joules_at(boundary, part)
        if own is None:
            if boundary != "gpu_board" and part.energy.is_measured:
                return None
            continue
        found = True
        joules += own
        known += own if fleet.is_known(part) else 0.0
        power += own / part.span.seconds if part.span.seconds > 0.0 else 0.0
        ratio = view.ratio_at(boundary)
        if part.energy.joules is None or part.energy.active_joules is None or ratio is None:
            active = None
        elif active is not None:
            active += part.energy.active_joules * ratio
    return Energy(joules, active, known, power) if found else None


def _coverage_ratio(parts: Iterable[Part], views: Mapping[str, NodeView], *, at_node: bool) -> float:
    """The share of the window that readings cover: the mean over the GPUs of the parts."""
    covered = total = 0.0
    for part in parts:
        view = views[part.owner.node]
        ratio = part.span.coverage_ratio
        if at_node and view.parts is not None:
            ratio = min(ratio, view.parts.factor.coverage_ratio)
        covered += part.gpus.weight * ratio * view.fresh_ratio
        total += part.gpus.weight
    return covered / total if total else 0.0


def _few_readings(parts: Iterable[Part]) -> bool:
    """Whether more than a small share of the parts has too few readings."""
    few = total = 0.0
    for part in parts:
        total += part.gpus.weight
        few += part.gpus.weight if part.span.has_few_readings else 0.0
    return few > MAX_FEW_READINGS_RATIO * total
