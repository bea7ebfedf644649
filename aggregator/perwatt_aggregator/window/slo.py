"""
Latency objectives of a window: how many requests met them, as an interval.

Two histograms show how many requests met each of two objectives, and not whether these were the same
requests. If of n requests a met one objective and b the other, at least a + b - n and at most min(a, b)
met both (the Fréchet bounds). An engine counts the time to first token when a request begins, and the time
per output token when it ends. Requests that were running at the start of a window are only in the second
histogram. Their number is at most the maximum that ever ran at once.
"""

import math
from collections.abc import Iterable, Sequence

from perwatt_aggregator.readings.increases import Increases
from perwatt_aggregator.readings.objectives import SloConfig, bounds_around
from perwatt_aggregator.readings.sample import TIME_PER_OUTPUT_TOKEN, TIME_TO_FIRST_TOKEN, Counter
from perwatt_aggregator.window.window import BucketBounds, Met, SloWindow


def slo_window(
    objectives: SloConfig, increases: Increases, counters: Sequence[Counter], max_running: float | None
) -> SloWindow:
    """Compare the increases of *counters* of one workload with its *objectives*."""
    first = _met(objectives.time_to_first_token, increases, counters, TIME_TO_FIRST_TOKEN)
    each = _met(objectives.time_per_output_token, increases, counters, TIME_PER_OUTPUT_TOKEN)
    if objectives.time_per_output_token is None:
        met = first
    elif objectives.time_to_first_token is None:
        met = each
    else:
        met = None if first is None or each is None else met_both(first, each, max_running)
    return SloWindow(objectives, first, each, met)


def slo_reasons(slo: SloWindow | None) -> tuple[str, ...]:
    """Why it is not known how many requests met the objectives."""
    return ("no_latency_histogram",) if slo is not None and slo.met is None else ()


def met_both(first: Met, each: Met, max_running: float | None) -> Met:
    """
    How many of the requests that ended met both objectives.

    Requests in *first* had their first token in the window, requests in *each* ended in it. At most
    *max_running* of those had their first token before the window; any number if it is None.
    """
    if max_running is None:
        return Met(each.requests, 0.0, each.at_most)
    before = max(max_running, each.requests - first.requests)
    at_most = min(each.at_most, first.at_most + before)
    at_least = max(0.0, each.at_least - (first.requests - first.at_least) - before)
    return Met(each.requests, min(at_least, at_most), at_most)


def _met(objective: float | None, increases: Increases, counters: Iterable[Counter], name: str) -> Met | None:
    if objective is None:
        return None
    buckets = _buckets(increases, [counter for counter in counters if counter.name == name])
    if not buckets or math.inf not in buckets:
        return None
    lower, upper = bounds_around(sorted(buckets), objective)
    requests = buckets[math.inf]
    at_most = min(requests, requests if upper is None else buckets[upper])
    at_least = 0.0 if lower is None else min(buckets[lower], at_most)
    return Met(
        requests, at_least, at_most, (BucketBounds(objective, lower, None if upper == math.inf else upper),)
    )


def _buckets(increases: Increases, counters: Iterable[Counter]) -> dict[float, float]:
    """
    The increase of each bucket by its bound; empty unless all of them were read at the same rows.

    Buckets of an earlier run of the engine, with other bounds, are left out.
    """
    shown = increases.ring.sample.counters if increases.ring.sample else {}
    present = [counter for counter in counters if counter in shown]
    spans = {increases.ring.span(counter, increases.first, increases.last) for counter in present}
    if len(spans) != 1 or None in spans:
        return {}
    return {float(counter.part): increases.of(counter) or 0.0 for counter in present}
