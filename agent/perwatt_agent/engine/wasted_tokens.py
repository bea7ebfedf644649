"""Wasted tokens: computed but not delivered, by cause."""

from collections.abc import Callable, Iterator

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.facts.engine_counts import WasteCause

RunningMaximum = Callable[[str, float], float]
"""Returns the highest value so far under a name, so that a derived count never decreases."""


def wasted_tokens(
    kind: EngineKind, page: EngineMetricsPage, maximum: RunningMaximum
) -> dict[WasteCause, float]:
    """Return the wasted tokens of each cause that the page shows now; other causes are left out."""
    return dict(_by_cause(kind, page, maximum))


def _by_cause(
    kind: EngineKind, page: EngineMetricsPage, maximum: RunningMaximum
) -> Iterator[tuple[WasteCause, float]]:
    aborted = page.count(kind.aborted_tokens)
    if aborted is None and kind.aborts_leave_output:
        aborted = _unaccounted_output(kind, page, maximum)
    drafted, accepted = page.count(kind.draft_tokens), page.count(kind.accepted_draft_tokens)
    rejected = None if drafted is None or accepted is None else maximum("draft_rejected", drafted - accepted)
    causes: tuple[tuple[WasteCause, float | None], ...] = (
        ("aborted", aborted),
        ("error", page.count(kind.failed_tokens)),
        ("recomputed", page.count(kind.recomputed_tokens)),
        ("draft_rejected", rejected),
    )
    for cause, tokens in causes:
        if tokens is not None:
            yield cause, tokens


def _unaccounted_output(kind: EngineKind, page: EngineMetricsPage, maximum: RunningMaximum) -> float | None:
    """
    Return the output that no ended request accounts for, while no request runs or waits; else None.

    While requests are in flight, their output cannot be separated from that of aborted ones. The ended
    requests include the aborted ones that the engine counts: after the first of these, nothing is known.
    """
    if page.count(kind.requests_aborted):
        return None
    in_flight = (kind.running, kind.waiting)
    if any(page.gauge(role) != 0.0 or not page.covers(role, kind.output_tokens) for role in in_flight):
        return None
    output, finished = page.count(kind.output_tokens), page.count(kind.finished_output_tokens)
    return None if output is None or finished is None else maximum("aborted_tokens", output - finished)
