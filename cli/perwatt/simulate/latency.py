"""Latency histograms of a simulated engine: the same distribution at any time."""

import math
from itertools import accumulate

from msgspec import Struct


class Latency(Struct, frozen=True):
    """
    One histogram: `shares` are those of all observations up to each of `bounds`, in seconds.

    It observes each output token if `is_each_token`, else each request.
    """

    bounds: tuple[float, ...]
    shares: tuple[float, ...]
    mean_seconds: float
    is_each_token: bool = False


def _log_normal(bounds: tuple[float, ...], median: float, sigma: float, *, is_each_token: bool) -> Latency:
    shares = [
        round((1.0 + math.erf(math.log(bound / median) / (sigma * math.sqrt(2.0)))) / 2.0, 4)
        for bound in bounds
    ]
    mean = median * math.exp(sigma * sigma / 2.0)
    return Latency(bounds, tuple(accumulate(shares, max)), mean, is_each_token)


TIME_TO_FIRST_TOKEN = _log_normal(
    (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0),
    0.18,
    0.9,
    is_each_token=False,
)
TIME_PER_OUTPUT_TOKEN = _log_normal(
    (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5), 0.028, 0.5, is_each_token=False
)
INTER_TOKEN_LATENCY = _log_normal(
    (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5), 0.026, 0.6, is_each_token=True
)
LATENCIES = (TIME_TO_FIRST_TOKEN, TIME_PER_OUTPUT_TOKEN, INTER_TOKEN_LATENCY)
