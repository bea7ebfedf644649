"""Latency objectives in an answer: how many requests of several workloads met them, as an interval."""

from collections.abc import Iterable, Sequence

from perwatt_aggregator.optional import quotient, rounded
from perwatt_aggregator.schema.efficiency import LatencyBounds, LatencyMet, Slo
from perwatt_aggregator.window.window import Met, SloWindow


def slo_answer(windows: Sequence[SloWindow]) -> Slo | None:
    """Add up several workloads, each against the objectives of its own model; None if there are none."""
    if not windows:
        return None
    met = _sum(window.met for window in windows)
    requests, at_least, at_most = (met.requests, met.at_least, met.at_most) if met else (None, None, None)
    return Slo(
        requests=rounded(requests),
        at_least=rounded(at_least),
        at_most=rounded(at_most),
        share_at_least=quotient(at_least, requests),
        share_at_most=quotient(at_most, requests),
        time_to_first_token=_latency(
            window.first_token for window in windows if window.objectives.time_to_first_token is not None
        ),
        time_per_output_token=_latency(
            window.output_token for window in windows if window.objectives.time_per_output_token is not None
        ),
    )


def _sum(windows: Iterable[Met | None]) -> Met | None:
    """All of them together; None if there are none, or one is not known."""
    found = list(windows)
    known = [met for met in found if met is not None]
    if not known or len(known) < len(found):
        return None
    bounds = dict.fromkeys(one for met in known for one in met.bounds)
    return Met(
        sum(met.requests for met in known),
        sum(met.at_least for met in known),
        sum(met.at_most for met in known),
        tuple(bounds),
    )


def _latency(windows: Iterable[Met | None]) -> LatencyMet | None:
    met = _sum(windows)
    if met is None:
        return None
    bounds = tuple(LatencyBounds(one.objective, one.lower or 0.0, one.upper) for one in met.bounds)
    requests, at_least, at_most = map(rounded, (met.requests, met.at_least, met.at_most))
    if requests is None or at_least is None or at_most is None:
        return None
    return LatencyMet(requests, at_least, at_most, bounds)
