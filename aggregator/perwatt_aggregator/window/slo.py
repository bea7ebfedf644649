"""
How many requests met their objectives: intervals, for histograms tell no more.

Two histograms tell how many requests met each of two objectives, and not whether they were the same
ones. Of n requests of which a met one and b the other, at least a + b - n and at most the lesser of a and
b met both (the Fréchet bounds). The time to first token is counted when a request begins and the time per
output token when it ends, so that those in flight at the start of a window are in the second alone; their
number is bounded by the most that ever ran at once.
"""

import math
from collections.abc import Iterable, Sequence

from perwatt_aggregator.readings.growth import Growth
from perwatt_aggregator.readings.objectives import SloConfig, edges
from perwatt_aggregator.readings.sample import TIME_PER_OUTPUT_TOKEN, TIME_TO_FIRST_TOKEN, Counter
from perwatt_aggregator.window.window import Edges, Met, SloWindow


def slo_window(
    asked: SloConfig, growth: Growth, counters: Sequence[Counter], most_running: float | None
) -> SloWindow:
    """Hold what *counters* of one workload grew by against what is *asked* of it."""
    first = _met(asked.time_to_first_token, growth, counters, TIME_TO_FIRST_TOKEN)
    each = _met(asked.time_per_output_token, growth, counters, TIME_PER_OUTPUT_TOKEN)
    if asked.time_per_output_token is None:
        met = first
    elif asked.time_to_first_token is None:
        met = each
    else:
        met = None if first is None or each is None else met_both(first, each, most_running)
    return SloWindow(asked, first, each, met)


def slo_reasons(slo: SloWindow | None) -> tuple[str, ...]:
    """Why something that was asked is not told."""
    return ("no_latency_histogram",) if slo is not None and slo.met is None else ()


def met_both(first: Met, each: Met, most_running: float | None) -> Met:
    """
    Of the requests that ended, how many met both objectives.

    *first* are those that had their first token in the window, *each* those that ended in it. Those that
    had it before may be *most_running*, or, where nobody knows, any number.
    """
    if most_running is None:
        return Met(each.requests, 0.0, each.at_most)
    before = max(most_running, each.requests - first.requests)
    at_most = min(each.at_most, first.at_most + before)
    at_least = max(0.0, each.at_least - (first.requests - first.at_least) - before)
    return Met(each.requests, min(at_least, at_most), at_most)


def _met(objective: float | None, growth: Growth, counters: Iterable[Counter], name: str) -> Met | None:
    if objective is None:
        return None
    buckets = _buckets(growth, [counter for counter in counters if counter.name == name])
    if not buckets or math.inf not in buckets:
        return None
    lower, upper = edges(sorted(buckets), objective)
    requests = buckets[math.inf]
    at_most = min(requests, requests if upper is None else buckets[upper])
    at_least = 0.0 if lower is None else min(buckets[lower], at_most)
    return Met(requests, at_least, at_most, (Edges(objective, lower, None if upper == math.inf else upper),))


def _buckets(growth: Growth, counters: Iterable[Counter]) -> dict[float, float]:
    """
    How much each bucket grew, by its bound; empty unless all of them were read at the same edges.

    Those of a life of the engine that had other buckets are left out.
    """
    shown = growth.ring.sample.counters if growth.ring.sample else {}
    now = [counter for counter in counters if counter in shown]
    spans = {growth.ring.span(counter, growth.first, growth.last) for counter in now}
    if len(spans) != 1 or None in spans:
        return {}
    return {float(counter.part): growth.increase(counter) or 0.0 for counter in now}
