"""Latency objectives of several workloads, summed."""

from collections.abc import Iterable, Sequence

from perwatt_aggregator.schema.efficiency import LatencyBounds, LatencyMet, Slo
from perwatt_aggregator.window.window import Met, SloWindow


def slo_of(windows: Sequence[SloWindow]) -> Slo | None:
    """Add up several workloads, each against its own objectives; None where none has any."""
    if not windows:
        return None
    met = _sum(window.met for window in windows)
    return Slo(
        requests=None if met is None else round(met.requests),
        at_least=None if met is None else round(met.at_least),
        at_most=None if met is None else round(met.at_most),
        share_at_least=met.at_least / met.requests if met and met.requests else None,
        share_at_most=met.at_most / met.requests if met and met.requests else None,
        time_to_first_token=_latency(
            window.first_token for window in windows if window.asked.time_to_first_token is not None
        ),
        time_per_output_token=_latency(
            window.output_token for window in windows if window.asked.time_per_output_token is not None
        ),
    )


def _sum(several: Iterable[Met | None]) -> Met | None:
    """All of them together; None where there are none, or one is not known."""
    found = list(several)
    known = [met for met in found if met is not None]
    if not known or len(known) < len(found):
        return None
    looked_at = dict.fromkeys(one for met in known for one in met.edges)
    return Met(
        sum(met.requests for met in known),
        sum(met.at_least for met in known),
        sum(met.at_most for met in known),
        tuple(looked_at),
    )


def _latency(several: Iterable[Met | None]) -> LatencyMet | None:
    met = _sum(several)
    if met is None:
        return None
    bounds = tuple(LatencyBounds(one.objective, one.lower or 0.0, one.upper) for one in met.edges)
    return LatencyMet(round(met.requests), round(met.at_least), round(met.at_most), bounds)
