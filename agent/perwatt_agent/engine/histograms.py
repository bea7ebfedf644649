"""Histogram of an engine, summed over its ranks, or rejected as a whole."""

import math
from collections.abc import Iterable
from itertools import pairwise

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.facts.engine_counts import Histogram
from perwatt_agent.net.prometheus_text import Series

# Engines have 20 to 40. Each bucket becomes a series of our page, and of the database that stores it.
MAX_BUCKETS = 100


class BadHistogram(EngineFailure):
    """A histogram on the page is not valid. The rest of the page is still used."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__("bad_histogram", f"{name} is left out: {fault}")


def histogram_of(
    name: str, buckets: Iterable[tuple[Series, float]], sums: Iterable[tuple[Series, float]]
) -> Histogram:
    """
    Return the histogram *name*, summed over all its series; there must be at least one bucket.

    Bucket counts are cumulative, as on the page. The count of the last bucket is the number of observations.
    Raises BadHistogram if the ranks have different buckets, if the `+Inf` bucket is missing, if there are too
    many buckets, or if a number cannot belong to a histogram.
    """
    ranks = _by_rank(name, buckets)
    bounds = sorted(ranks[0])
    if not all(rank.keys() == ranks[0].keys() for rank in ranks):
        raise BadHistogram(name, "its ranks have different buckets")
    if bounds[-1] != math.inf:
        raise BadHistogram(name, 'it has no bucket le="+Inf"')
    if len(bounds) > MAX_BUCKETS:
        raise BadHistogram(name, f"it has more than {MAX_BUCKETS} buckets")
    counts = [[rank[bound] for bound in bounds] for rank in ranks]
    if not all(_is_cumulative(rank) for rank in counts):
        raise BadHistogram(name, "its counts are not finite, or decrease from one bucket to the next")
    amounts = [amount for _, amount in sums]
    if not amounts or not all(0.0 <= amount < math.inf for amount in amounts):
        raise BadHistogram(name, "its sum is missing or is not a duration")
    *cumulative, count = map(sum, zip(*counts, strict=True))
    return Histogram(tuple(bounds[:-1]), tuple(cumulative), count, sum(amounts))


def _by_rank(name: str, buckets: Iterable[tuple[Series, float]]) -> list[dict[float, float]]:
    """Return, for each set of labels other than `le`, the counts by bound."""
    ranks: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
    for series, count in buckets:
        rank = ranks.setdefault(tuple(pair for pair in series.labels if pair[0] != "le"), {})
        bound = _bound(series.label("le"))
        if math.isnan(bound) or bound == -math.inf or bound in rank:
            raise BadHistogram(name, "a bound is not a number, or is repeated")
        rank[bound] = count
    return list(ranks.values())


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _is_cumulative(counts: list[float]) -> bool:
    return counts[0] >= 0.0 and counts[-1] < math.inf and all(low <= high for low, high in pairwise(counts))
