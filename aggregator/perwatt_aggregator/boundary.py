"""
From board joules to the node at the wall, and from there to the facility.

A node's joules beyond its boards go to its GPUs in proportion to their board joules, so one factor a
node says it all. PUE multiplies joules at the node, once, and never those of a board.
"""

from typing import Literal, get_args

from msgspec import Struct

from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.window import MeterWindow, NodeWindow

Boundary = Literal["gpu_board", "node", "facility"]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)


class NodeFactor(Struct, frozen=True):
    """
    Node joules per board joule of one node, and how that is known.

    `ratio` is None where it cannot be known; then `reasons` says why. `coverage_ratio` is that of
    the node's meter.
    """

    ratio: float | None
    provenance: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    coverage_ratio: float = 1.0


def node_factor(window: NodeWindow, facility: FacilityConfig) -> NodeFactor:
    """Measured where the node has a meter, else the configured overhead as an estimate, else nothing."""
    if window.meter is not None:
        return _measured(window.meter, window)
    if facility.node_overhead is not None:
        return NodeFactor(facility.node_overhead.ratio, ("estimated",))
    return NodeFactor(None, reasons=("no_node_meter",))


def _measured(meter: MeterWindow, window: NodeWindow) -> NodeFactor:
    boards = meter.board_joules
    reasons = ["too_few_meter_refreshes"] if meter.too_few_refreshes else []
    if meter.energy_joules < boards:
        reasons.append("node_meter_below_boards")
    if not boards and window.gpus:
        reasons.append("no_energy")
    # A power meter's joules are integrated; a model is no meter.
    provenance = {"estimated" if source == "model" else "integrated" for source in meter.sources}
    covered = meter.covered_seconds + meter.slack_seconds
    return NodeFactor(
        meter.energy_joules / boards if boards else None,
        tuple(sorted(provenance)),
        tuple(reasons),
        min(1.0, covered / window.nominal_seconds),
    )
