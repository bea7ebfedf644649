"""
Node factor: node joules per board joule.

A node's joules beyond its boards go to its GPUs in proportion to their board joules, so that one factor
for each node is enough. The PUE multiplies joules at the node, never board joules.
"""

from msgspec import Struct

from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.optional import quotient, total
from perwatt_aggregator.readings.sample import MODEL
from perwatt_aggregator.validity.uncertainty import UncertaintyConfig, combined
from perwatt_aggregator.window.window import MeterWindow, NodeWindow


class NodeFactor(Struct, frozen=True):
    """
    Node joules per board joule of one node.

    `ratio` is None if it is not known; `reasons` are why. `coverage_ratio` is that of the node's meter,
    `refresh_seconds` the time between two of its readings, `uncertainty_ratio` its relative uncertainty.
    `is_measured` is true for a meter of this node alone; false for a shared meter, a model or an estimate.
    `has_meter` is true for both kinds of meter: the joules of all boards are in it.
    """

    ratio: float | None
    provenance: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    coverage_ratio: float = 1.0
    uncertainty_ratio: float | None = None
    refresh_seconds: float = 0.0
    is_measured: bool = False
    has_meter: bool = False


def node_factor(window: NodeWindow, facility: FacilityConfig, uncertainty: UncertaintyConfig) -> NodeFactor:
    """Measured if the node has a meter; else the configured overhead as an estimate; else None."""
    if window.meter is not None:
        return _measured(window.meter, window, uncertainty)
    if facility.node_overhead is not None:
        boards = uncertainty.of(source for gpu in window.gpus for source in gpu.sources)
        uncertainty_ratio = combined(uncertainty.of(("node_overhead",)), boards)
        return NodeFactor(facility.node_overhead.ratio, ("estimated",), uncertainty_ratio=uncertainty_ratio)
    return NodeFactor(None, reasons=("no_node_meter",))


def board_watts(window: NodeWindow) -> float | None:
    """The mean power of all boards of a node; None if none was measured."""
    return quotient(total(gpu.energy_joules for gpu in window.gpus), window.seconds)


def _measured(meter: MeterWindow, window: NodeWindow, uncertainty: UncertaintyConfig) -> NodeFactor:
    boards = meter.board_joules
    reasons = sorted(meter.refused.union(*(gpu.refused for gpu in window.gpus)))
    if meter.has_too_few_refreshes:
        reasons.append("too_few_meter_refreshes")
    if meter.source_changed:
        reasons.append("source_changed")
    if meter.energy_joules < boards:
        reasons.append("node_meter_below_boards")
    if not boards and window.gpus:
        reasons.append("no_energy")
    # Joules of a power meter are integrated; a model is not a meter.
    provenance = {"estimated" if source == MODEL else "integrated" for source in meter.sources}
    covered = meter.covered_seconds + meter.slack_seconds
    return NodeFactor(
        quotient(meter.energy_joules, boards),
        tuple(sorted(provenance)),
        tuple(reasons),
        min(1.0, covered / window.nominal_seconds),
        None if window.backend == "simulated" else uncertainty.of(meter.sources),
        meter.period_seconds or 0.0,
        MODEL not in meter.sources,
        MODEL not in meter.sources,
    )
