"""Node view: the parts of one node over a window, and their joules at each boundary."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from perwatt_aggregator.attribution.node_parts import NodeParts
from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.facility.state import UNKNOWN, FacilityState
from perwatt_aggregator.fleet.share_cache import ShareCache
from perwatt_aggregator.optional import product
from perwatt_aggregator.schema.common import Boundary
from perwatt_aggregator.targets.target import NO_LABELS
from perwatt_aggregator.validity.uncertainty import (
    SWEEP_SECONDS,
    combined,
    of_alignment,
    of_restart,
    of_window,
)


class NodeView(Struct, frozen=True):
    """
    One node over a window. `parts` is None if it has no readings in the window.

    `fresh_ratio` is the share of the window up to its newest reading, `gpus` the number of GPUs that it last
    had, None if that was never read, and `facility` the state of its facility over the window. `fill_seconds`
    is the time until its readings fill the window: 0 once they do, None while the node cannot be read.
    `labels` are those of its target. `shares` keeps what was computed from `parts`; None if nothing is kept.
    """

    node: str
    parts: NodeParts | None = None
    age_seconds: float | None = None
    fill_seconds: float | None = None
    fresh_ratio: float = 1.0
    stale: bool = False
    gpus: int | None = None
    facility: FacilityState = UNKNOWN
    reasons: tuple[str, ...] = ()
    labels: Mapping[str, str] = NO_LABELS
    shares: ShareCache[Any] | None = None

    @property
    def factor_ratio(self) -> float | None:
        """Node joules per board joule; None if it is not known."""
        return None if self.parts is None else self.parts.factor.ratio

    def ratio_at(self, boundary: Boundary) -> float | None:
        """Joules at *boundary* per board joule; None if it is not known."""
        if boundary == "gpu_board":
            return 1.0
        return product(self.factor_ratio, self.plug_ratio(boundary))

    def plug_ratio(self, boundary: Boundary) -> float | None:
        """
        Joules at *boundary* per joule at the node's plug; None if it is not known.

        This is the only place where the PUE multiplies, so that it multiplies once.
        """
        if boundary == "facility":
            return None if self.facility.pue is None else self.facility.pue.ratio
        return 1.0 if boundary == "node" else None

    def joules_at(self, boundary: Boundary, part: Part) -> float | None:
        """The joules of *part*, one of this node, at *boundary*."""
        energy, ratio = part.energy, self.ratio_at(boundary)
        if energy.joules is not None and ratio is not None:
            return energy.joules * ratio
        return product(energy.meter_joules, self.plug_ratio(boundary))

    def uncertainty_at(self, boundary: Boundary, part: Part) -> float | None:
        """Relative uncertainty of the joules of *part* at *boundary*; None if it is not known."""
        covered = part.span.coverage_ratio * self.fresh_ratio
        at_restart = of_restart(part.span.seconds, part.span.lost_seconds)
        if boundary == "gpu_board" or self.parts is None:
            return combined(
                part.energy.uncertainty_ratio,
                of_window(part.span.seconds, part.energy.refresh_seconds, covered),
                of_alignment(part.span.seconds, SWEEP_SECONDS / 2.0),
                at_restart,
            )
        factor = self.parts.factor
        refresh = max(factor.refresh_seconds, part.energy.refresh_seconds)
        at_node = combined(
            factor.uncertainty_ratio,
            of_window(part.span.seconds, refresh, min(covered, factor.coverage_ratio)),
            of_alignment(part.span.seconds, max(refresh, SWEEP_SECONDS) / 2.0),
            at_restart,
        )
        if boundary == "node":
            return at_node
        pue = self.facility.pue
        return None if pue is None else combined(at_node, pue.uncertainty_ratio)
