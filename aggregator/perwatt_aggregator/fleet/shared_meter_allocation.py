"""
Allocation of a shared meter's energy to its nodes, in proportion to their board joules.

It is an estimate, because nodes differ in what they use beside their boards. The order of precedence is: the
node's own meter, its share of a shared meter, a node model, a stated overhead, nothing.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from perwatt_aggregator.attribution.node_factor import NodeFactor
from perwatt_aggregator.facility.shared_meter import SharedReading
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import difference, product
from perwatt_aggregator.validity.thresholds import MIN_METER_REFRESHES
from perwatt_aggregator.validity.uncertainty import UncertaintyConfig, combined


def allocate(
    views: Iterable[NodeView], reading: SharedReading, seconds: float, uncertainty: UncertaintyConfig
) -> Iterator[NodeView]:
    """
    The nodes under one meter, with their shares of its energy over the last *seconds*.

    Nodes with a meter of their own keep it; their energy is subtracted before the rest is shared.
    """
    views = tuple(views)
    sharing = [view for view in views if not _is_measured(view)]
    boards = [view.parts.board_watts if view.parts else None for view in sharing]
    factor = _factor(_watts_to_allocate(reading, views), boards, reading, seconds, uncertainty)
    if factor.ratio is not None and any(_lacks_boards(view) for view in sharing):
        factor = replace(factor, reasons=(*factor.reasons, "shared_meter_incomplete"))
    for view in views:
        if (
            view.parts is None
            or _is_measured(view)
            or (factor.ratio is None and view.factor_ratio is not None)
        ):
            yield view
        else:
            yield replace(view, parts=replace(view.parts, factor=factor), shares=None)


def _factor(
    watts: float | None,
    boards: Sequence[float | None],
    reading: SharedReading,
    seconds: float,
    uncertainty: UncertaintyConfig,
) -> NodeFactor:
    """Node joules per board joule: the same for all nodes that share the meter."""
    known = [one for one in boards if one is not None]
    total = sum(known)
    if watts is None or len(known) < len(boards) or total <= 0.0:
        return NodeFactor(None, reasons=("no_node_meter", "shared_meter_incomplete"))
    reasons = []
    if reading.refreshes < MIN_METER_REFRESHES:
        reasons.append("too_few_meter_refreshes")
    if watts < total:
        reasons.append("node_meter_below_boards")
    return NodeFactor(
        max(0.0, watts) / total,
        ("estimated",),
        tuple(reasons),
        min(1.0, (reading.covered_seconds + reading.period_seconds) / seconds),
        combined(uncertainty.of((reading.source,)), uncertainty.of(("shared",))),
        reading.period_seconds,
        has_meter=True,
    )


def _watts_to_allocate(reading: SharedReading, views: Iterable[NodeView]) -> float | None:
    """The meter's power less that of nodes with meters of their own; None if one of these is not known."""
    rest_watts = reading.watts
    for view in views:
        if rest_watts is not None and _is_measured(view):
            rest_watts = _without_own_meter(rest_watts, view)
    return rest_watts


def _without_own_meter(watts: float, view: NodeView) -> float | None:
    boards = view.parts.board_watts if view.parts else None
    return difference(watts, product(boards, view.factor_ratio))


def _lacks_boards(view: NodeView) -> bool:
    """Whether joules of boards that were not measured, or not counted, would be given to the other nodes."""
    parts = view.parts
    return parts is not None and (
        not parts.has_all_boards or parts.has_refused_boards or bool(parts.unmeasured_holders)
    )


def _is_measured(view: NodeView) -> bool:
    return view.parts is not None and view.parts.factor.is_measured
