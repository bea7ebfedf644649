"""Share: what one node adds to one group, summed once per reading, so that answers add up few numbers."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.fleet.late import LateParts, late_parts
from perwatt_aggregator.fleet.unmeasured import reasons_at_boards, reasons_of_share
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.fleet.work_amounts import WorkAmounts, work_amounts
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary


class Totals(NamedTuple):
    """
    Sums over parts that do not depend on a boundary.

    Those of a span are of the parts with a reading, with and without their weights: the mean is of parts if
    no part has a weight. `covered_boards` and `covered_node` are weights times the share that is covered.
    """

    weight: float
    few_weight: float
    disputed_joules: float
    drawn_joules: float
    gpu_seconds: float
    covered_boards: float
    covered_node: float
    spans: int
    span_weight: float
    weighed_start: float
    weighed_end: float
    start: float
    end: float


class Energies(NamedTuple):
    """
    Sums over parts at one boundary.

    `parts` have known joules, and `unknown` were measured and have none at this boundary. `without_active`
    is how many do not know the joules in which they served. `size` and `error` are absolute joules, and these
    times their uncertainty, of all but the parts `without_uncertainty`.
    """

    parts: int
    unknown: int
    joules: float
    known_joules: float
    power_watts: float
    active_joules: float
    without_active: int
    size: float
    error: float
    without_uncertainty: int


class ShareSums(Struct, frozen=True):
    """
    Sums of a share.

    `work` is that of its parts with joules, and `other_work` that of the others. `estimated` if it has some,
    but not all, of a GPU whose division is an estimate.
    """

    totals: Totals
    energies: tuple[Energies, ...]
    work: WorkAmounts
    other_work: WorkAmounts
    has_joules: bool
    has_other_counts: bool
    spans_gpus: bool
    provenance: frozenset[str]
    reasons: frozenset[str]
    board_reasons: frozenset[str]
    node_reasons: frozenset[str]
    unmeasured_gpus: frozenset[str]
    late: LateParts


NO_GROUPS = frozenset[str]()


class Share:
    """
    Parts of one node in one group.

    Its sums are kept while the PUE and the freshness of its node stay the same, unless one of its parts
    belongs to an engine over several nodes: then the other members matter too. `engine_groups` has the
    engine of each such part.
    """

    __slots__ = ("_basis", "_sums", "engine_groups", "has_unproven", "has_workload", "parts")

    def __init__(self, parts: Iterable[Part]) -> None:
        self.parts = tuple(parts)
        self.engine_groups = tuple(part.owner.group for part in self.parts if part.owner.group)
        self.has_workload = any(part.owner.workload for part in self.parts)
        self.has_unproven = any(part.is_unproven for part in self.parts)
        self._basis: object = None
        self._sums: ShareSums | None = None

    def sums(
        self,
        view: NodeView,
        known_groups: frozenset[str] = NO_GROUPS,
        measured_groups: frozenset[str] = NO_GROUPS,
    ) -> ShareSums:
        """
        The sums, as parts of the node of *view*.

        *known_groups* are the engines over several nodes whose work is known, and *measured_groups* those of
        which the group has joules.
        """
        pue = view.facility.pue
        basis = (view.fresh_ratio, None if pue is None else (pue.ratio, pue.uncertainty_ratio))
        if self._sums is None or self.engine_groups or basis != self._basis:
            self._basis = basis
            self._sums = _sums(view, self.parts, known_groups, measured_groups)
        return self._sums


NodeShare = tuple[NodeView, Share]
Shares = tuple[tuple[tuple[str, ...], Share], ...]
"""What one node adds to groups, by their labels."""


def _sums(
    view: NodeView, parts: Sequence[Part], known_groups: frozenset[str], measured_groups: frozenset[str]
) -> ShareSums:
    own, others = list[Part](), list[Part]()
    for part in parts:
        (own if part.energy.is_measured or part.owner.group in measured_groups else others).append(part)
    provenance = frozenset(source for part in parts for source in part.energy.provenance)
    return ShareSums(
        totals=_totals(view, parts),
        energies=tuple(
            _energies(view, parts, boundary, lambda part: part.is_known or part.owner.group in known_groups)
            for boundary in BOUNDARIES
        ),
        work=work_amounts(own),
        other_work=work_amounts(others),
        has_joules=any(part.energy.is_measured for part in own),
        has_other_counts=any(part.counts and part.counts.is_known for part in others),
        spans_gpus=any("tokens_span_gpus" in part.reasons for part in parts),
        provenance=provenance | {"estimated"} if _is_estimated(view, parts) else provenance,
        reasons=frozenset(reason for part in parts for reason in part.reasons),
        board_reasons=reasons_at_boards(parts),
        node_reasons=frozenset(reasons_of_share(parts, view.parts)),
        unmeasured_gpus=frozenset(gpu for part in parts for gpu in part.gpus.unmeasured),
        late=late_parts(parts),
    )


def _totals(view: NodeView, parts: Sequence[Part]) -> Totals:
    node_ratio = 1.0 if view.parts is None else view.parts.factor.coverage_ratio
    fresh = view.fresh_ratio
    read = [(part.gpus.weight, part.span) for part in parts if part.span.end_unix > 0.0]
    return Totals(
        weight=sum(part.gpus.weight for part in parts),
        few_weight=sum(part.gpus.weight for part in parts if part.span.has_few_readings),
        disputed_joules=sum(part.energy.disputed_joules for part in parts),
        drawn_joules=sum(part.energy.drawn_joules for part in parts),
        gpu_seconds=sum(part.gpus.seconds for part in parts),
        covered_boards=sum(part.gpus.weight * part.span.coverage_ratio * fresh for part in parts),
        covered_node=sum(
            part.gpus.weight * min(part.span.coverage_ratio, node_ratio) * fresh for part in parts
        ),
        spans=len(read),
        span_weight=sum(weight for weight, _ in read),
        weighed_start=sum(weight * span.start_unix for weight, span in read),
        weighed_end=sum(weight * span.end_unix for weight, span in read),
        start=sum(span.start_unix for _, span in read),
        end=sum(span.end_unix for _, span in read),
    )


def _energies(
    view: NodeView, parts: Iterable[Part], boundary: Boundary, is_known: Callable[[Part], bool]
) -> Energies:
    found = unknown = without_active = without_uncertainty = 0
    joules = known = power = active = size = error = 0.0
    ratio = view.ratio_at(boundary)
    for part in parts:
        own = view.joules_at(boundary, part)
        if own is None:
            unknown += boundary != "gpu_board" and part.energy.is_measured
            continue
        found += 1
        joules += own
        known += own if is_known(part) else 0.0
        power += own / part.span.seconds if part.span.seconds > 0.0 else 0.0
        if part.energy.joules is None or part.energy.active_joules is None or ratio is None:
            without_active += 1
        else:
            active += part.energy.active_joules * ratio
        if own:
            uncertainty = view.uncertainty_at(boundary, part)
            without_uncertainty += uncertainty is None
            size += abs(own)
            error += abs(own) * (uncertainty or 0.0)
    return Energies(
        found, unknown, joules, known, power, active, without_active, size, error, without_uncertainty
    )


def _is_estimated(view: NodeView, parts: Sequence[Part]) -> bool:
    """Whether *parts* have some, but not all, of a GPU whose division is an estimate."""
    estimated = {gpu for part in parts for gpu in part.gpus.estimated}
    if not estimated:
        return False
    others = () if view.parts is None else view.parts.by_workload
    return _owners(estimated, parts) != _owners(estimated, others)


def _owners(gpus: set[str], parts: Iterable[Part]) -> set[tuple[str, str, str]]:
    return {
        (gpu, part.owner.workload, part.owner.model)
        for part in parts
        for gpu in part.gpus.uuids
        if gpu in gpus
    }
