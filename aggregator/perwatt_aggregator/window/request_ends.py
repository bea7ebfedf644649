"""Engines that count when a request ends: whether a window is long enough to believe them."""

from collections.abc import Iterable

from perwatt_agent.engine.catalog import counts_at
from perwatt_aggregator.readings.ring import NodeRing
from perwatt_aggregator.readings.sample import OUTPUT_TOKENS, REQUESTS, Counter

# What was in flight at either edge of a window is then at most a tenth of what ended within it.
MIN_ENDS_PER_RUNNING = 10.0
# Where nobody says how many run: a window in which requests of half a minute are as few as that.
MIN_BLIND_SECONDS = 300.0


def blurs(
    ring: NodeRing, engine: str, workload: str, counts: Iterable[Counter], first: int, last: int
) -> bool:
    """
    Return whether what *engine* counted between two rows may largely belong to other times.

    Tokens that are counted when their request ends are off by what was in flight at the window's
    edges: the net of both is at most what the most requests that ever ran had made. Requests being
    alike, that is the number of them over the number that ended.
    """
    counters = tuple(counts)
    output = [counter for counter in counters if counter.name == OUTPUT_TOKENS]
    if counts_at(engine) == "live" or not output:
        return False
    ended = _ended(ring, output, counters, first, last)
    running = ring.most_running(workload, first, last)
    if running is None:
        return ended < MIN_ENDS_PER_RUNNING or ring.unix(last) - ring.unix(first) < MIN_BLIND_SECONDS
    return ended < MIN_ENDS_PER_RUNNING * running


def _ended(
    ring: NodeRing, output: Iterable[Counter], counters: Iterable[Counter], first: int, last: int
) -> float:
    """The requests that ended with tokens; where they are not counted, the readings with new tokens."""
    requests = [
        increase
        for counter in counters
        if counter.name == REQUESTS and counter.part in ("ok", "aborted")
        if (increase := ring.increase(counter, first, last)) is not None
    ]
    if requests:
        return sum(requests)
    return float(sum(ring.moves(counter, first, last) for counter in output))
