"""Tokens that took work and that nobody got: what a page tells of them, by cause."""

from collections.abc import Callable, Iterator

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.facts.engine_counts import WasteCause

HeldGpus = Callable[[str, float], float]
"""Holds what is named at the highest that was certain: see `EngineCounter`."""


def wasted_tokens(kind: EngineKind, page: EngineMetricsPage, held: HeldGpus) -> dict[WasteCause, float]:
    """Return the tokens of each cause that the page tells of now; what it cannot tell is left out."""
    return dict(_told(kind, page, held))


def _told(kind: EngineKind, page: EngineMetricsPage, held: HeldGpus) -> Iterator[tuple[WasteCause, float]]:
    aborted = page.count(kind.aborted_tokens)
    if aborted is None and kind.aborts_leave_output:
        aborted = _left_behind(kind, page, held)
    drafted, accepted = page.count(kind.draft_tokens), page.count(kind.accepted_draft_tokens)
    rejected = None if drafted is None or accepted is None else held("draft_rejected", drafted - accepted)
    causes: tuple[tuple[WasteCause, float | None], ...] = (
        ("aborted", aborted),
        ("error", page.count(kind.failed_tokens)),
        ("recomputed", page.count(kind.recomputed_tokens)),
        ("draft_rejected", rejected),
    )
    for cause, tokens in causes:
        if tokens is not None:
            yield cause, tokens


def _left_behind(kind: EngineKind, page: EngineMetricsPage, held: HeldGpus) -> float | None:
    """
    The output that no ended request accounts for, while nothing runs or waits.

    In between, what is in flight cannot be told from what was aborted, so nothing is said.
    """
    if page.gauge(kind.running) != 0.0 or page.gauge(kind.waiting) != 0.0:
        return None
    output, finished = page.count(kind.output_tokens), page.count(kind.finished_output_tokens)
    return None if output is None or finished is None else held("aborted_tokens", output - finished)
