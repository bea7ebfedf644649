"""vLLM."""

from perwatt_agent.engine.kind import WORK_PATHS, EngineKind, Pick, Role, where
from perwatt_agent.engine.launch import (
    DATA_PARALLEL,
    PIPELINE_PARALLEL,
    TENSOR_PARALLEL,
    Launch,
    RankLaunch,
)


def _finished(*reasons: str) -> Role:
    return (Pick("vllm:request_success_total", where(finished_reason=frozenset(reasons))),)


def _prompt(source: str) -> Pick:
    return Pick("vllm:prompt_tokens_by_source_total", where(source=source))


def _tier(*names: str) -> Pick:
    return Pick("vllm:prompt_tokens_cached_by_source_total", where(source=frozenset(names)))


def _http(status: str) -> Role:
    return (Pick("http_requests_total", where(status=status, method="POST", handler=WORK_PATHS)),)


VLLM_PROGRAMS = (
    r"vllm(-omni)? serve\b|vllm(_omni)?\.entrypoints\.cli\.main serve\b|vllm-rs (serve|frontend)\b"
    r"|vllm(_omni)?\.entrypoints\.\S*api_server\b|\S+::APIServer"
)
"""How the programs begin that serve its page, as a regular expression."""

VLLM = EngineKind(
    name="vllm",
    title="vLLM 0.9 to 0.32",
    known_from="recorded pages (0.32.0), source",
    counts_at="live",
    port=8000,
    caveats=(
        "vLLM does not count most aborted requests. perwatt derives these from first tokens, ended and "
        "running requests. Their tokens are part of the output, and shown as wasted while no request runs or "
        "waits. Effective tokens are absent after the first request that did not succeed.",
        "The frontend in Rust (`vllm-rs serve`) counts aborts. Such a request is among the ended ones, so "
        "wasted tokens of aborts are absent from the first abort on that vLLM counts.",
        "With `--disable-log-stats` the page has no tokens. `--api-key` does not protect the page.",
        "Tokens computed again after a preemption cost joules, but are not counted.",
        "A request with `n` above 1 counts as `n` requests: the engine counts sequences.",
        "The frontend in Rust shows tokens and requests from the first request on. Until then they are 0.",
        "vLLM-Omni shows each stage of a model as a replica: a request counts once in each stage.",
        "A page counts the data-parallel ranks whose `engine` it shows. If a launch has more, as with "
        "`--data-parallel-multi-port-external-lb`, discovery reads each rank at its own port as an engine of "
        "its own. GPUs of ranks that no page counts are missing GPUs.",
        "With several API servers there is no process start, and gauges appear with the first request.",
        "FLOPs need `--enable-mfu-metrics`. Without it their counter is 0, and perwatt does not show them.",
        "`vllm:iteration_tokens_total` is a histogram, and is not read.",
        "Counts continue after a restart if the user set `PROMETHEUS_MULTIPROC_DIR` and did not empty it.",
    ),
    launch=Launch(
        serves=VLLM_PROGRAMS,
        default_port=8000,
        degrees=(TENSOR_PARALLEL, PIPELINE_PARALLEL, DATA_PARALLEL),
        ranks=RankLaunch(
            degree=DATA_PARALLEL,
            local=("--data-parallel-size-local", "-dpl"),
            single=("--data-parallel-rank", "-dpn", "--data-parallel-external-lb", "-dpe"),
            first=("--data-parallel-start-rank", "-dpr"),
            own_server=r"\S+::APIServer_DP(\d+)",
        ),
    ),
    prefix="vllm:",
    recognised_by=frozenset({"vllm:generation_tokens_total", "vllm:prompt_tokens_total"}),
    # The frontend in Rust: until then it has only the metrics of its scheduler.
    appear_with_requests=frozenset(
        {
            "vllm:generation_tokens_total",
            "vllm:prompt_tokens_total",
            "vllm:prompt_tokens_by_source_total",
            "vllm:request_generation_tokens_sum",
            "vllm:request_success_total",
            "vllm:time_to_first_token_seconds_count",
            "vllm:e2e_request_latency_seconds_count",
        }
    ),
    output_tokens=(Pick("vllm:generation_tokens_total"),),
    finished_output_tokens=(Pick("vllm:request_generation_tokens_sum"),),
    prompt_tokens=(Pick("vllm:prompt_tokens_total"),),
    prompt_computed=(_prompt("local_compute"),),
    prompt_cached=(
        _prompt("local_cache_hit"),
        # Ray shows no counter that is 0; the queries of a prompt never are.
        Pick("vllm:prefix_cache_hits_total", zero_beside="vllm:prefix_cache_queries_total"),
        Pick("vllm:gpu_prefix_cache_hits_total", zero_beside="vllm:gpu_prefix_cache_queries_total"),  # 0.9
    ),
    prompt_external=(
        _prompt("external_kv_transfer"),
        # Before 0.20. It exists since 0.11.1, and without a connector it stays 0.
        Pick("vllm:external_prefix_cache_hits_total", zero_beside="vllm:external_prefix_cache_queries_total"),
    ),
    prompt_own_tiers=(_tier("host", "disk"),),  # 0.32
    prompt_unnamed_tier=(_tier("external_unspecified"),),
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

ROWS = (VLLM,)
