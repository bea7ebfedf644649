"""Cumulative counts of one inference engine, as its metrics page reports them."""

from typing import Literal

from msgspec import Struct

WasteCause = Literal["aborted", "error", "recomputed", "draft_rejected"]


class Histogram(Struct, frozen=True):
    """
    Cumulative observations of one quantity, in the buckets of the engine.

    `at_most` has, for each of the finite and ascending `bounds`, the number of observations up to it. `count`
    is the number of all observations, `sum` their sum.
    """

    bounds: tuple[float, ...]
    at_most: tuple[float, ...]
    count: float
    sum: float


class EngineCounts(Struct, frozen=True, omit_defaults=True):
    """
    Cumulative counts on one page of an inference engine, since the engine started.

    None is a count that the engine does not have. `work` counts other units than tokens, by unit, and
    `wasted_tokens` counts tokens that were computed but not delivered, by cause. Latencies are in seconds:
    the time per output token is the mean of each request, the inter-token latency that of each token.
    `flops_per_gpu` is the engine's own count of floating-point operations, a mean over its GPUs.
    `process_start_unix_seconds` distinguishes a restart from a page that could not be reached.
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
