"""
Shares of a workload's active joules: useful, wasted by cause, undecided. They are divided like its tokens.

Output tokens and recomputed tokens count, each with the same share of the joules. This is an estimate: to
compute a token again takes less energy than a new one.
"""

from collections.abc import Iterable, Mapping, Sequence

from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.window.window import Counts

Shares = Mapping[str, float]
"""Shares of active joules by leaf; they add up to 1."""

UNDECIDED_SHARES: Shares = {leaves.UNDECIDED: 1.0}
_BEYOND_OUTPUT = "recomputed"


def active_shares(counts: Iterable[Counts]) -> Shares:
    """
    The shares of the active joules of all *counts* together.

    By output tokens, if they are counted; else by the outcome of requests, as for embeddings. The work of a
    job in its own units is useful. The rest is undecided.
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
    # An engine that counts when a request ends may count more than was made within the window.
    made = output + tokens.get(leaves.WASTED[_BEYOND_OUTPUT], 0.0)
    return _shares(tokens, made)


def _missed_tokens(counts: Counts) -> float:
    """The effective tokens of requests that surely missed their objectives, if all requests are alike."""
    met = counts.slo.met if counts.slo else None
    if met is None or met.requests <= 0.0:
        return 0.0
    return (counts.effective_output or 0.0) * max(0.0, 1.0 - met.at_most / met.requests)


def _by_requests(counts: Sequence[Counts]) -> Shares:
    by_leaf: dict[str, float] = {}
    for one in counts:
        for outcome, amount in one.requests.items():
            leaf = leaves.WASTED.get(outcome, leaves.EFFECTIVE)
            by_leaf[leaf] = by_leaf.get(leaf, 0.0) + amount
    return _shares(by_leaf, sum(by_leaf.values()))


def _shares(amounts: Mapping[str, float], whole: float) -> Shares:
    counted = sum(amounts.values())
    whole = max(whole, counted)
    if whole <= 0.0:
        return UNDECIDED_SHARES
    return {leaf: amount / whole for leaf, amount in amounts.items()} | {
        leaves.UNDECIDED: (whole - counted) / whole
    }
