"""Sums of a group over its shares: energy at each boundary, work, cost, and the time that they cover."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from perwatt_aggregator.fleet.bill import Bill, bill_of
from perwatt_aggregator.fleet.groups import Fleet, Group
from perwatt_aggregator.fleet.late import late_ratio
from perwatt_aggregator.fleet.share import Energies, ShareSums, Totals
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.fleet.work import Work, work_of
from perwatt_aggregator.schema.common import Boundary, Window
from perwatt_aggregator.schema.instants import window
from perwatt_aggregator.validity.thresholds import MAX_DISPUTED_RATIO, MAX_FEW_READINGS_RATIO, MAX_LATE_RATIO
from perwatt_aggregator.validity.uncertainty import combined, of_late


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
    """Add up the shares of *group*."""
    views = [view for view, _ in group.shares]
    measured = _measured_groups(group)
    shares = [share.sums(view, fleet.known_groups, measured) for view, share in group.shares]
    reached = [view.parts for view in views if view.parts is not None]
    totals = Totals(*map(sum, zip(*(one.totals for one in shares), strict=True)))
    board_sources = _union(one.provenance for one in shares)
    node_sources = board_sources.union(*{parts.factor.provenance for parts in reached})
    node_reasons = _union(one.node_reasons for one in shares).union(
        *{parts.factor.reasons for parts in reached}
    )
    facility_reasons = node_reasons.union(*{view.facility.reasons for view in views})
    boards, node, facility = (
        Energies(*map(sum, zip(*each, strict=True)))
        for each in zip(*(one.energies for one in shares), strict=True)
    )
    boards_ratio, node_ratio = (
        covered / totals.weight if totals.weight else 0.0
        for covered in (totals.covered_boards, totals.covered_node)
    )
    late = late_ratio([one.late for one in shares])
    board_reasons = _union(one.board_reasons for one in shares)
    return Sums(
        group=group,
        work=work_of(shares),
        window=_window(totals),
        by_boundary={
            "gpu_board": _at_boundary(boards, boards_ratio, late, board_sources, board_reasons),
            "node": _at_boundary(node, node_ratio, late, node_sources, node_reasons),
            "facility": _at_boundary(facility, node_ratio, late, node_sources, facility_reasons),
        },
        bill=bill_of(zip(views, shares, strict=True)),
        largest_gap_seconds=max((parts.largest_gap_seconds for parts in reached), default=None),
        age_seconds=max((view.age_seconds for view in views if view.age_seconds is not None), default=None),
        fill_seconds=_longest([view.fill_seconds for view in views]),
        unmeasured_gpus=tuple(sorted(_union(one.unmeasured_gpus for one in shares))),
        reasons=frozenset(_reasons(group, views, shares, totals, late)) | fleet.reasons,
    )


def _measured_groups(group: Group) -> frozenset[str]:
    """The engines over several nodes of which the group has joules."""
    return frozenset(
        part.owner.group
        for _, share in group.shares
        if share.engine_groups
        for part in share.parts
        if part.owner.group and part.energy.is_measured
    )


def _union(several: Iterable[frozenset[str]]) -> frozenset[str]:
    # Most nodes have the same ones.
    return frozenset[str]().union(*set(several))


def _longest(waits: Sequence[float | None]) -> float | None:
    """The longest of the *waits*; None if one of them has no known end."""
    known = [wait for wait in waits if wait is not None]
    return max(known, default=None) if len(known) == len(waits) else None


def _window(totals: Totals) -> Window | None:
    """The mean of the parts' spans by their weights, or of all alike if none has a weight."""
    if not totals.spans:
        return None
    if totals.span_weight:
        return window(totals.weighed_start / totals.span_weight, totals.weighed_end / totals.span_weight)
    return window(totals.start / totals.spans, totals.end / totals.spans)


def _at_boundary(
    sums: Energies, coverage_ratio: float, late: float, provenance: frozenset[str], reasons: frozenset[str]
) -> BoundarySums:
    """
    The energy at one boundary.

    None if nothing was measured, or if a part is not known at that boundary: a sum without it would be
    another quantity.
    """
    if not sums.parts or sums.unknown:
        return BoundarySums(None, coverage_ratio, None, provenance, reasons)
    active = None if sums.without_active else sums.active_joules
    energy = Energy(sums.joules, active, sums.known_joules, sums.power_watts)
    # Errors of meters of one class are correlated: uncertainties add up as the joules do.
    is_certain = sums.size and not sums.without_uncertainty
    of_parts = sums.error / sums.size if is_certain else None
    uncertainty_ratio = combined(of_parts, of_late(late))
    return BoundarySums(energy, coverage_ratio, uncertainty_ratio, provenance, reasons)


def _reasons(
    group: Group, views: Sequence[NodeView], shares: Sequence[ShareSums], totals: Totals, late: float
) -> Iterator[str]:
    """The reasons of a group that do not depend on a boundary."""
    yield from _union(one.reasons for one in shares)
    for reasons in {view.reasons for view in views}:
        yield from reasons
    if any(one.has_joules for one in shares) and any(one.has_other_counts for one in shares):
        yield "tokens_uncovered"
    if any(view.stale for view in views):
        yield "stale"
    if not all(view.parts.filled for view in views if view.parts is not None):
        yield "window_not_filled"
    if totals.few_weight > MAX_FEW_READINGS_RATIO * totals.weight:
        yield "too_few_readings"
    if totals.disputed_joules > MAX_DISPUTED_RATIO * totals.drawn_joules:
        yield "energy_meters_disagree"
    if late > MAX_LATE_RATIO:
        yield "spans_differ"
    if not group.has_whole_groups:
        yield "shared_group"
