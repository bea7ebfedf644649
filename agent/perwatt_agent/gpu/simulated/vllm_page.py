"""Metrics page of the simulated engine, with vLLM's metric names."""

from collections.abc import Iterator

from perwatt_agent.gpu.simulated.serving import (
    FIRST_TOKEN_SECONDS,
    OUTPUT_TOKENS_PER_REQUEST,
    PROMPT_CACHED_PER_REQUEST,
    PROMPT_COMPUTED_PER_REQUEST,
    REQUEST_SECONDS,
    Served,
)

MODEL = "simulated-llama-3-8b"

_OWN = f'engine="0",model_name="{MODEL}"'
_PROMPT_PER_REQUEST = PROMPT_COMPUTED_PER_REQUEST + PROMPT_CACHED_PER_REQUEST
_TOKEN_BUCKETS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
_BETWEEN_TOKENS_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0)
_REQUEST_BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)


def vllm_page(served: Served, process_start_unix_seconds: float) -> bytes:
    """Return the page, in the text format 0.0.4."""
    return "".join(f"{line}\n" for line in _lines(served, process_start_unix_seconds)).encode()


def _lines(served: Served, process_start_unix_seconds: float) -> Iterator[str]:
    yield from _family("process_start_time_seconds", "gauge", [("", process_start_unix_seconds)])
    yield from _gauges(served)
    yield from _tokens(served)
    yield from _requests(served)
    yield from _latencies(served)


def _gauges(served: Served) -> Iterator[str]:
    yield from _family("vllm:num_requests_running", "gauge", [(_OWN, served.running)])
    yield from _family("vllm:num_requests_waiting", "gauge", [(_OWN, 0)])
    yield from _family("vllm:kv_cache_usage_perc", "gauge", [(_OWN, served.kv_cache_ratio)])


def _tokens(served: Served) -> Iterator[str]:
    computed = served.started * PROMPT_COMPUTED_PER_REQUEST
    cached = served.started * PROMPT_CACHED_PER_REQUEST
    sources = {"local_compute": computed, "local_cache_hit": cached, "external_kv_transfer": 0}
    yield from _family("vllm:num_preemptions_total", "counter", [(_OWN, 0)])
    yield from _family("vllm:prefix_cache_queries_total", "counter", [(_OWN, computed + cached)])
    yield from _family("vllm:prefix_cache_hits_total", "counter", [(_OWN, cached)])
    yield from _family("vllm:prompt_tokens_total", "counter", [(_OWN, computed + cached)])
    yield from _family(
        "vllm:prompt_tokens_by_source_total",
        "counter",
        [(f'{_OWN},source="{source}"', tokens) for source, tokens in sources.items()],
    )
    yield from _family("vllm:prompt_tokens_cached_total", "counter", [(_OWN, cached)])
    yield from _family("vllm:generation_tokens_total", "counter", [(_OWN, served.output_tokens)])


def _requests(served: Served) -> Iterator[str]:
    # As in the real one, aborts show only in the differences between these families.
    reasons = {"stop": served.stopped, "length": served.length, "abort": 0, "error": 0, "repetition": 0}
    yield from _family(
        "vllm:request_success_total",
        "counter",
        [(f'{_OWN},finished_reason="{reason}"', count) for reason, count in reasons.items()],
    )
    answered = {"2xx": served.started - served.running, "4xx": served.rejected}
    handler = 'handler="/v1/chat/completions",method="POST"'
    yield from _family(
        "http_requests_total",
        "counter",
        [(f'{handler},status="{status}"', count) for status, count in answered.items() if count],
    )
    yield from _histogram(
        "vllm:request_prompt_tokens", _TOKEN_BUCKETS, served.finished, float(_PROMPT_PER_REQUEST)
    )
    yield from _histogram(
        "vllm:request_generation_tokens", _TOKEN_BUCKETS, served.finished, float(OUTPUT_TOKENS_PER_REQUEST)
    )


def _latencies(served: Served) -> Iterator[str]:
    between_tokens = (REQUEST_SECONDS - FIRST_TOKEN_SECONDS) / (OUTPUT_TOKENS_PER_REQUEST - 1)
    yield from _histogram(
        "vllm:time_to_first_token_seconds", _FIRST_TOKEN_BUCKETS, served.started, FIRST_TOKEN_SECONDS
    )
    yield from _histogram(
        "vllm:inter_token_latency_seconds",
        _BETWEEN_TOKENS_BUCKETS,
        served.output_tokens - served.started,
        between_tokens,
    )
    yield from _histogram(
        "vllm:request_time_per_output_token_seconds", _BETWEEN_TOKENS_BUCKETS, served.finished, between_tokens
    )
    yield from _histogram(
        "vllm:e2e_request_latency_seconds", _REQUEST_BUCKETS, served.finished, REQUEST_SECONDS
    )


def _family(name: str, kind: str, samples: list[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} Simulated."
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {float(value)!r}" if labels else f"{name} {float(value)!r}"


def _histogram(name: str, buckets: tuple[float, ...], count: int, each: float) -> Iterator[str]:
    """A histogram of *count* observations that were all *each*."""
    yield f"# HELP {name} Simulated."
    yield f"# TYPE {name} histogram"
    for bound in buckets:
        yield f'{name}_bucket{{{_OWN},le="{bound!r}"}} {float(count if each <= bound else 0)!r}'
    yield f'{name}_bucket{{{_OWN},le="+Inf"}} {float(count)!r}'
    yield f"{name}_count{{{_OWN}}} {float(count)!r}"
    yield f"{name}_sum{{{_OWN}}} {count * each!r}"
