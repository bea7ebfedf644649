"""
What of a workload's active joules was of use: they are divided like the tokens that were made with them.

The tokens that took work are those of the output and those that were computed a second time. Each of
them bears the same: an estimate, since a token that is computed again costs less than a new one.
"""

from collections.abc import Iterable, Mapping, Sequence

from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.window.window import Counts

Shares = Mapping[str, float]
"""Shares of active joules by leaf, that add up to 1."""

UNDECIDED_SHARES: Shares = {leaves.UNDECIDED: 1.0}
_BEYOND_OUTPUT = "recomputed"


def active_shares(counts: Iterable[Counts]) -> Shares:
    """
    Return how the active joules behind all of *counts* are divided.

    By output tokens, where they are told; else by how requests ended, as for embeddings; what a job
    counts in units of its own is of use. What is not told is undecided.
    """
    counts = tuple(counts)
    outputs = [one for one in counts if one.output is not None]
    output = sum(one.output or 0.0 for one in outputs)
    if output > 0.0:
        return _by_tokens(output, outputs)
    if any(one.work for one in counts):
        return {leaves.EFFECTIVE: 1.0}
    return _by_requests(counts)


def _by_tokens(output: float, counts: Sequence[Counts]) -> Shares:
    tokens: dict[str, float] = {}
    known = [one.effective_output for one in counts]
    if None not in known:
        tokens[leaves.EFFECTIVE] = sum(one or 0.0 for one in known)
        if all(one.slo is not None and one.slo.met is not None for one in counts):
            missed = sum(map(_missed_tokens, counts))
            tokens[leaves.WASTED["missed_slo"]] = missed
            tokens[leaves.EFFECTIVE] -= missed
    for one in counts:
        for cause, amount in one.wasted.items():
            if cause in leaves.WASTED:
                leaf = leaves.WASTED[cause]
                tokens[leaf] = tokens.get(leaf, 0.0) + amount
    for outcome in ("aborted", "error"):
        if all(one.requests.get(outcome) == 0.0 for one in counts):
            tokens.setdefault(leaves.WASTED[outcome], 0.0)
    # What counts at a request's end may be more than was made within the window.
    made = output + tokens.get(leaves.WASTED[_BEYOND_OUTPUT], 0.0)
    return _shares(tokens, made)


def _missed_tokens(counts: Counts) -> float:
    """The effective tokens of the requests that are sure to have missed their objectives, all being alike."""
    met = counts.slo.met if counts.slo else None
    if met is None or met.requests <= 0.0:
        return 0.0
    return (counts.effective_output or 0.0) * max(0.0, 1.0 - met.at_most / met.requests)


def _by_requests(counts: Sequence[Counts]) -> Shares:
    ends: dict[str, float] = {}
    for one in counts:
        for outcome, amount in one.requests.items():
            leaf = leaves.WASTED.get(outcome, leaves.EFFECTIVE)
            ends[leaf] = ends.get(leaf, 0.0) + amount
    return _shares(ends, sum(ends.values()))


def _shares(amounts: Mapping[str, float], whole: float) -> Shares:
    told = sum(amounts.values())
    whole = max(whole, told)
    if whole <= 0.0:
        return UNDECIDED_SHARES
    return {leaf: amount / whole for leaf, amount in amounts.items()} | {
        leaves.UNDECIDED: (whole - told) / whole
    }
