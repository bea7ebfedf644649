"""Request ends: whether a window has enough of them, for engines that count tokens when a request ends."""

from collections.abc import Iterable

from perwatt_agent.engine.catalog import counts_at
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.sample import OUTPUT_TOKENS, REQUESTS, Counter
from perwatt_aggregator.validity.thresholds import MIN_ENDS_PER_RUNNING, MIN_SECONDS_WITHOUT_RUNNING


def has_too_few_ends(
    ring: NodeRing, engine: str, workload: str, counts: Iterable[Counter], first: int, last: int
) -> bool:
    """
    Whether too few requests ended between two rows for what *engine* counted.

    Tokens that are counted when their request ends are wrong by the difference between the unfinished
    requests at the two ends of the window. That is at most the tokens of the largest number of requests
    that ran at once. If requests are alike, the relative error is that number over the number that ended.
    """
    counters = tuple(counts)
    output = [counter for counter in counters if counter.name == OUTPUT_TOKENS]
    if counts_at(engine) == "live" or not output:
        return False
    ended = _ended(ring, output, counters, first, last)
    running = ring.max_running(workload, first, last)
    if running is None:
        return (
            ended < MIN_ENDS_PER_RUNNING or ring.unix(last) - ring.unix(first) < MIN_SECONDS_WITHOUT_RUNNING
        )
    return ended < MIN_ENDS_PER_RUNNING * running


def _ended(
    ring: NodeRing, output: Iterable[Counter], counters: Iterable[Counter], first: int, last: int
) -> float:
    """The requests that ended with tokens; if they are not counted, the readings with new tokens."""
    requests = [
        increase
        for counter in counters
        if counter.name == REQUESTS and counter.part in ("ok", "aborted")
        if (increase := ring.increase(counter, first, last)) is not None
    ]
    if requests:
        return sum(requests)
    return float(sum(ring.moves(counter, first, last) for counter in output))
