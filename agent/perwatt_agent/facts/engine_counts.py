"""Cumulative counts of one inference engine, as its metrics page reports them."""

from typing import Literal

from msgspec import Struct

WasteCause = Literal["aborted", "error", "recomputed", "draft_rejected"]


class Histogram(Struct, frozen=True):
    """
    Cumulative observations of one quantity, in the buckets of whoever observed it.

    `at_most` says how many were at most each of `bounds`, which are finite and ascend; `count` is the
    number of all, `sum` what they add up to.
    """

    bounds: tuple[float, ...]
    at_most: tuple[float, ...]
    count: float
    sum: float


class EngineCounts(Struct, frozen=True, omit_defaults=True):
    """
    What one page of an inference engine says: cumulative counts since the engine started.

    None is what the engine cannot tell; `work` holds other units than tokens, by unit, and
    `wasted_tokens` tokens that nobody got, by what became of them. Latencies are in seconds: the time
    per output token is each request's mean, the inter-token latency each token's own. `flops_per_gpu` are
    floating-point operations as the engine reckons them, a mean over its GPUs.
    `process_start_unix_seconds` tells a restart apart from a page that was merely out of reach.
    """

    model: str
    output_tokens: float | None = None
    prompt_computed_tokens: float | None = None
    prompt_cached_tokens: float | None = None
    effective_output_tokens: float | None = None
    requests_ok: float | None = None
    requests_aborted: float | None = None
    requests_error: float | None = None
    requests_running: float | None = None
    requests_waiting: float | None = None
    work: dict[str, float] = {}
    process_start_unix_seconds: float | None = None
    kv_cache_usage_ratio: float | None = None
    preemptions: float | None = None
    wasted_tokens: dict[WasteCause, float] = {}
    time_to_first_token: Histogram | None = None
    time_per_output_token: Histogram | None = None
    inter_token_latency: Histogram | None = None
    flops_per_gpu: float | None = None
