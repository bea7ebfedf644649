"""Late work: joules and tokens from before the window, which waited for an engine's page."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from perwatt_aggregator.attribution.leaves import WAITING
from perwatt_aggregator.attribution.part import Part


class LateParts(NamedTuple):
    """
    What decides how much of several parts is late: of those with joules or tokens.

    `least_seconds` is the smallest time before the window, infinite without parts. `late` are the parts with
    any.
    """

    least_seconds: float
    late: tuple[Part, ...]
    joules: float
    tokens: float


def late_parts(parts: Iterable[Part]) -> LateParts:
    parts = [part for part in parts if part.energy.joules or _tokens(part)]
    return LateParts(
        min((part.span.late_seconds for part in parts), default=math.inf),
        tuple(part for part in parts if part.span.late_seconds > 0.0),
        sum(part.energy.joules or 0.0 for part in parts),
        sum(map(_tokens, parts)),
    )


def late_ratio(several: Sequence[LateParts]) -> float:
    """
    The share of the joules or of the tokens of parts, whichever is larger, that is from before the window.

    What all parts have from then does not count: their joules and tokens match, and the window of the figure
    shows their time.
    """
    least = min((one.least_seconds for one in several), default=0.0)
    late = [
        (part, _share(part, least)) for one in several for part in one.late if part.span.late_seconds > least
    ]
    if not late:
        return 0.0
    joules = sum(one.joules for one in several)
    tokens = sum(one.tokens for one in several)
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
