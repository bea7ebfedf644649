"""Late work: joules and tokens from before the window, which waited for an engine's page."""

from collections.abc import Sequence

from perwatt_aggregator.attribution.leaves import WAITING
from perwatt_aggregator.attribution.part import Part


def late_ratio(parts: Sequence[Part]) -> float:
    """
    The share of the joules or of the tokens of *parts*, whichever is larger, that is from before the window.

    What all parts have from then does not count: their joules and tokens match, and the window of the figure
    shows their time.
    """
    parts = [part for part in parts if part.energy.joules or _tokens(part)]
    least = min((part.span.late_seconds for part in parts), default=0.0)
    late = [(part, _share(part, least)) for part in parts if part.span.late_seconds > least]
    if not late:
        return 0.0
    joules = sum(part.energy.joules or 0.0 for part in parts)
    tokens = sum(map(_tokens, parts))
    late_joules = sum(_late_joules(part, share) for part, share in late)
    late_tokens = sum(share * _tokens(part) for part, share in late)
    return max(late_joules / joules if joules else 0.0, late_tokens / tokens if tokens else 0.0)


def _share(part: Part, least_seconds: float) -> float:
    span = part.span
    return (span.late_seconds - least_seconds) / span.seconds if span.seconds > 0.0 else 0.0


def _tokens(part: Part) -> float:
    return part.counts.output or 0.0 if part.counts else 0.0


def _late_joules(part: Part, share: float) -> float:
    """By the share of time, and at least what was attributed in the window beyond what was used in it."""
    return max(share * (part.energy.joules or 0.0), -part.energy.leaves.get(WAITING, 0.0))
