"""vLLM, and those that show its families under names of their own."""

from msgspec.structs import replace

from perwatt_agent.engine.kinds.row import EngineKind, Pick, Role, renamed, where


def _finished(*reasons: str) -> Role:
    return (Pick("vllm:request_success_total", where(finished_reason=frozenset(reasons))),)


def _prompt(source: str) -> Pick:
    return Pick("vllm:prompt_tokens_by_source_total", where(source=source))


# Where an engine's HTTP server is asked for work, as opposed to health and lists of models.
WORK_HANDLERS = frozenset(
    {
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/generate",
        "/pooling",
        "/score",
        "/rerank",
    }
)


def _http(status: str) -> Role:
    return (Pick("http_requests_total", where(status=status, method="POST", handler=WORK_HANDLERS)),)


VLLM = EngineKind(
    name="vllm",
    title="vLLM 0.9 to 0.32",
    known_from="recorded pages (0.32.0), source",
    counts_at="live",
    port=8000,
    caveats=(
        "Aborted requests are counted nowhere: they are derived from first tokens, ends and what runs. Their "
        "tokens are in the output, and told as wasted whenever nothing runs or waits. Effective tokens are "
        "absent once a request ended badly.",
        "`--disable-log-stats` leaves a page without any token; `--api-key` does not protect the page.",
        "What is computed again after a preemption takes joules but is no prompt token, nor counted at all.",
        "With several API servers there is no process start, and gauges show up with the first request.",
        "FLOPs are counted with `--enable-mfu-metrics` alone; their counter is 0 without it, and not shown.",
        "`vllm:iteration_tokens_total` is a histogram; nothing of it is read.",
        "Counts outlive a restart where `PROMETHEUS_MULTIPROC_DIR` is set by the user and not wiped.",
    ),
    recognised_by=frozenset({"vllm:generation_tokens_total", "vllm:prompt_tokens_total"}),
    output_tokens=(Pick("vllm:generation_tokens_total"),),
    finished_output_tokens=(Pick("vllm:request_generation_tokens_sum"),),
    prompt_tokens=(Pick("vllm:prompt_tokens_total"),),
    # The third source, external_kv_transfer, is left out on purpose: those tokens were computed or
    # cached, and are counted, by another member of the group.
    prompt_computed=(_prompt("local_compute"),),
    prompt_cached=(
        _prompt("local_cache_hit"),
        Pick("vllm:prompt_tokens_cached_total"),
        Pick("vllm:prefix_cache_hits_total"),
        Pick("vllm:gpu_prefix_cache_hits_total"),  # 0.9
    ),
    requests_ok=_finished("stop", "length"),
    requests_aborted=_finished("abort"),
    requests_failed=_finished("error"),
    requests_cut_short=_finished("repetition"),
    http_rejected=_http("4xx"),
    http_failed=_http("5xx"),
    first_tokens=(Pick("vllm:time_to_first_token_seconds_count"),),
    finished=(Pick("vllm:e2e_request_latency_seconds_count"),),
    aborts_leave_output=True,
    draft_tokens=(Pick("vllm:spec_decode_num_draft_tokens_total"),),
    accepted_draft_tokens=(Pick("vllm:spec_decode_num_accepted_tokens_total"),),
    time_to_first_token=(Pick("vllm:time_to_first_token_seconds"),),
    time_per_output_token=(Pick("vllm:request_time_per_output_token_seconds"),),
    inter_token_latency=(
        Pick("vllm:inter_token_latency_seconds"),
        Pick("vllm:time_per_output_token_seconds"),  # 0.9, where it is no request's
    ),
    flops_per_gpu=(Pick("vllm:estimated_flops_per_gpu_total"),),  # with --enable-mfu-metrics
    preemptions=(Pick("vllm:num_preemptions_total"),),
    running=(Pick("vllm:num_requests_running"),),
    waiting=(Pick("vllm:num_requests_waiting"),),
    kv_cache_usage=(Pick("vllm:kv_cache_usage_perc"), Pick("vllm:gpu_cache_usage_perc")),
)

KSERVE = replace(
    VLLM,
    name="kserve",
    title="KServe, with its prefix `kserve_vllm:`",
    known_from="documentation",
    port=8080,
    caveats=("Its runtime without the prefix is read as vLLM.",),
    **renamed(VLLM, "vllm:", "kserve_vllm:"),
)

# The page is that of Ray's node agent: its HTTP server and its start are not the engine's.
RAY = replace(
    VLLM,
    name="ray",
    title="Ray Serve LLM (vLLM)",
    known_from="source, documentation",
    port=8080,
    rank_labels=("engine", "WorkerId", "ReplicaId"),
    caveats=(
        "A counter is absent until it is not 0.",
        "Some versions show `X` beside `X_total`: only `X_total` is read.",
        "Needs `log_engine_metrics`; the port is that of Ray's metrics agent, which differs by installation.",
    ),
    **renamed(VLLM, "vllm:", "ray_vllm_")
    | {"http_rejected": (), "http_failed": (), "requests_failed": (), "process_start": ()},
)

NIM = EngineKind(
    name="nim",
    title="NVIDIA NIM for LLMs 1.x, bare names",
    known_from="documentation",
    counts_at="live",
    port=8000,
    paths=("/v1/metrics", "/metrics"),
    caveats=(
        "One that shows `vllm:` families is read as vLLM.",
        "Prompt tokens are not told apart by cache, failures not by kind: both are absent.",
    ),
    recognised_by=frozenset({"generation_tokens_total"}),
    output_tokens=(Pick("generation_tokens_total"),),
    requests_ok=(Pick("request_success_total"),),
    running=(Pick("num_requests_running"),),
    waiting=(Pick("num_requests_waiting"),),
    kv_cache_usage=(Pick("gpu_cache_usage_perc"),),
    time_to_first_token=(Pick("time_to_first_token_seconds"),),
    inter_token_latency=(Pick("time_per_output_token_seconds"),),
)
