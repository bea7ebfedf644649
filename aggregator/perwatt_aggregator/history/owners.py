"""
Owners of a node's increments: the parts of a view of the node, with what qualifies what they use and do.

A view takes a thousand times as long as the increments of a tick. So it serves several ticks while nothing
happens on the node.
"""

import math
from collections.abc import Iterator, Mapping

from msgspec import Struct

from perwatt_agent.engine.catalog import counts_at
from perwatt_aggregator.attribution.part import Part, unreachable
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet.unmeasured import is_disputed, reasons_at_boards, reasons_at_node
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.history.increments import WorkKey
from perwatt_aggregator.history.roll_up import owner_of
from perwatt_aggregator.history.values import CARBON, CURRENCY, MEASURED, OUTPUT_COUNTED, PROMPT_COUNTED, UNIT
from perwatt_aggregator.schema.common import BOUNDARIES, DIMENSIONS, Boundary
from perwatt_aggregator.validity.all import is_valid

_NAN = math.nan
# Decided over the window that is asked for, not over a tick.
_OF_WINDOWS = frozenset(
    ("coverage_low", "too_few_readings", "window_not_filled", "unexplained", "counts_at_request_end")
)
COUNTS_AT_END = "+counts_at_request_end"
"""Flag of an owner whose tokens are counted when their requests end."""
SOURCE = "source:"
"""Before the provenance, among the flags; `node:` stands before what applies at the node and beyond alone."""
_OWN_DIMENSIONS = tuple(name for name in DIMENSIONS if name not in ("node", "facility", "gpu"))


class Place(Struct, frozen=True):
    """A boundary: joules there per board joule (or per joule of the node's meter), and their uncertainty."""

    ratio: float
    uncertainty_ratio: float


class HistoryOwner(Struct, frozen=True):
    """
    One owner: `labels` are its own, as the history keeps them, and `units` are those of its other work. It
    has `weight` GPUs, and `gpu_share` of them where several share them.

    `coverage_ratio` and `node_coverage_ratio` are 0 while there is a reason for which its figures do not
    count. `engine_counts_at_end` if its running requests are kept.
    """

    key: WorkKey
    labels: dict[str, str]
    weight: float
    gpu_share: float
    coverage_ratio: float
    node_coverage_ratio: float
    places: tuple[Place, ...]
    flags: frozenset[str]
    is_known: bool
    is_measured: bool
    has_baseline: bool
    unknown_counts: frozenset[str]
    units: tuple[str, ...] = ()
    meter_share: float = 0.0
    counts_at_end: bool = False

    def name(self, unit: str = "") -> str:
        """The owner as the history knows it, for one of its units of work."""
        return owner_of({**self.labels, UNIT: unit})


class Groups(Struct):
    """What the members of an engine on several nodes know of each other: its model, and whether it counts."""

    models: dict[str, str]
    known: set[str]


def owners_of(view: NodeView, groups: Groups) -> tuple[HistoryOwner, ...]:
    """The owners on one node. A node without readings is an owner without joules: its GPUs are missing."""
    if view.parts is None:
        return (_owner(view, unreachable(view.node, view.gpus), groups, share=0.0),)
    parts = (*view.parts.by_workload, *view.parts.missing)
    meters = [part for part in parts if part.energy.meter_joules is not None]
    for part in parts:
        if part.owner.group and part.owner.model:
            groups.models[part.owner.group] = part.owner.model
        if part.owner.group and part.is_known:
            groups.known.add(part.owner.group)
    return tuple(
        _owner(view, part, groups, share=1.0 / len(meters) if part in meters else 0.0) for part in parts
    )


def _owner(view: NodeView, part: Part, groups: Groups, share: float) -> HistoryOwner:
    counts, energy, parts = part.counts, part.energy, view.parts
    found = _reasons(view, part) - _OF_WINDOWS
    at_boards, at_node = reasons_at_boards((part,)), frozenset[str]()
    sources = frozenset(energy.provenance)
    node_sources = frozenset[str]()
    if parts is not None:
        at_node = frozenset(parts.factor.reasons) | reasons_at_node((part,), {view.node: view})
        node_sources = frozenset(parts.factor.provenance)
    at_node -= _OF_WINDOWS
    is_good = is_valid(found | at_boards)
    is_good_at_node = is_valid(found | at_node)
    coverage = part.span.coverage_ratio * view.fresh_ratio
    factor_coverage = parts.factor.coverage_ratio if parts is not None else 0.0
    return HistoryOwner(
        key=(part.owner.workload, part.owner.model) if part.owner.workload else ("", part.owner.gpu),
        labels=_labels(view, part, groups),
        # A claim without a proof is its own figure's fault, and no other's.
        weight=0.0 if part.is_unproven else part.gpus.weight,
        gpu_share=part.gpus.seconds / part.span.seconds if part.span.seconds else 0.0,
        coverage_ratio=coverage if is_good else 0.0,
        node_coverage_ratio=min(coverage, factor_coverage) if is_good_at_node else 0.0,
        places=tuple(_place(view, part, name) for name in BOUNDARIES),
        flags=frozenset(
            (
                *found,
                *(f"gpu_board:{one}" for one in at_boards),
                *(f"node:{one}" for one in at_node),
                *(f"facility:{one}" for one in view.facility.reasons),
                *(f"{SOURCE}{one}" for one in sources),
                *(f"node:{SOURCE}{one}" for one in node_sources),
                *((MEASURED,) if energy.is_measured else ()),
                *((OUTPUT_COUNTED,) if counts is not None and counts.output is not None else ()),
                *((PROMPT_COUNTED,) if counts is not None and counts.prompt_computed is not None else ()),
                *((COUNTS_AT_END,) if _counts_at_end(part) else ()),
            )
        ),
        is_known=part.is_known or part.owner.group in groups.known,
        is_measured=energy.is_measured,
        has_baseline=energy.joules is None or energy.active_joules is not None,
        unknown_counts=frozenset(_unknown_counts(part)),
        units=tuple(sorted(counts.work)) if counts is not None else (),
        meter_share=share,
        counts_at_end=_counts_at_end(part),
    )


def _counts_at_end(part: Part) -> bool:
    has_output = part.counts is not None and part.counts.output is not None
    return has_output and counts_at(part.owner.engine) != "live"


def _reasons(view: NodeView, part: Part) -> frozenset[str]:
    found = {*view.reasons, *part.reasons}
    if is_disputed((part,)):
        found.add("energy_meters_disagree")
    return frozenset(found)


def _unknown_counts(part: Part) -> Iterator[str]:
    """The counts that the engine does not have, although it has others."""
    counts = part.counts
    if counts is None or not part.is_known:
        return
    for name in ("prompt_computed", "prompt_cached"):
        if getattr(counts, name) is None:
            yield name
    if counts.output is not None and counts.effective_output is None:
        yield "effective_output"
    for outcome in ("ok", "aborted", "error"):
        if outcome not in counts.requests:
            yield outcome


def _place(view: NodeView, part: Part, boundary: Boundary) -> Place:
    has_meter = part.energy.meter_joules is not None
    ratio = view.plug_ratio(boundary) if has_meter else view.ratio_at(boundary)
    uncertainty = view.uncertainty_at(boundary, part)
    return Place(_NAN if ratio is None else ratio, _NAN if uncertainty is None else uncertainty)


def _labels(view: NodeView, part: Part, groups: Groups) -> dict[str, str]:
    own = {name: getattr(part.owner, name) for name in _OWN_DIMENSIONS}
    own["model"] = own["model"] or groups.models.get(part.owner.group, "")
    return {**view.labels, **own, "node": view.node, "facility": view.facility.name, **_kinds(view.facility)}


def _kinds(facility: FacilityState) -> Mapping[str, str]:
    currencies = [one.currency for one in (facility.price, facility.capital) if one is not None]
    return {
        CURRENCY: currencies[0] if currencies else "",
        CARBON: facility.carbon.kind if facility.carbon is not None else "",
    }
