"""SGLang, with and without counters that move while a request runs."""

from msgspec.structs import replace

from perwatt_agent.engine.kind import WORK_PATHS, EngineKind, Pick, Role, renamed, where
from perwatt_agent.engine.launch import DATA_PARALLEL, PIPELINE_PARALLEL, TENSOR_PARALLEL, Launch

_LIVE = "sglang:realtime_tokens_total"
_ABORTED = "sglang:num_aborted_requests_total"


def _live(mode: str) -> Pick:
    return Pick(_LIVE, where(mode=mode))


def _http(first_status: int) -> Role:
    codes = frozenset(str(status) for status in range(first_status, first_status + 100))
    filters = where(status_code=codes, method="POST", endpoint=WORK_PATHS)
    return (Pick("sglang:http_responses_total", filters),)


SGLANG = EngineKind(
    name="sglang",
    title="SGLang 0.5.8 and later",
    known_from="recorded pages (0.5.23)",
    counts_at="live",
    port=30000,
    caveats=(
        "Needs `--enable-metrics`.",
        "Output is the decoded tokens plus one first token for each request, live. It includes a few tokens "
        "that the engine decodes past the end of a request: 4 of 1727 tokens in the recorded run of 35 "
        "requests, fewer than one a request. Effective tokens are those that the engine bills, exact after "
        "the requests have ended.",
        "The warm-up at each start counts as work: 27 or 28 prompt tokens, 8 output tokens and one request "
        "for each data-parallel rank.",
        "It counts aborted requests as requests. perwatt subtracts them.",
        "Recomputed tokens are those that retracted requests lost. Tokens that were still cached when the "
        "request continued were not computed again. Rejected drafts are only shown as a rate, and not read.",
        "FLOPs need `--enable-mfu-metrics`.",
        "With `--enable-metrics-for-all-schedulers`, each tensor- and pipeline-parallel rank shows the same "
        "work: the lowest rank of each replica counts.",
        "Under speculative decoding, the output may exceed what clients received by some per cent.",
        "It never shows a process start.",
    ),
    launch=Launch(
        # Its router launches servers that have nothing but a title, each at a port of its own.
        serves=(r"sglang\.launch_server\b|sglang serve\b|sglang\.cli\.main serve\b|sglang::server\b"),
        # Its server in Rust runs inside the process that computes.
        serves_at_port=r"sglang::scheduler",
        default_port=30000,
        degrees=(TENSOR_PARALLEL, PIPELINE_PARALLEL, DATA_PARALLEL),
        flat_with="--enable-dp-attention",
    ),
    role_label="engine_type",
    rank_labels=("dp_rank",),
    mirror_labels=("tp_rank", "pp_rank", "moe_ep_rank"),
    prefix="sglang:",
    recognised_by=frozenset({_LIVE}),
    output_tokens=(
        # The first token of a request comes from its prefill, which `decode` leaves out.
        Pick(_LIVE, where(mode="decode"), plus=(Pick("sglang:time_to_first_token_seconds_count"),)),
    ),
    finished_output_tokens=(Pick("sglang:generation_tokens_total"),),
    prompt_computed=(_live("prefill_compute"),),
    prompt_cached=(_live("prefill_cache"),),
    requests_ended=(Pick("sglang:num_requests_total", zero_beside=_LIVE),),
    requests_aborted=(Pick(_ABORTED, zero_beside=_LIVE),),
    http_rejected=_http(400),
    http_failed=_http(500),
    flops_per_gpu=(Pick("sglang:estimated_flops_per_gpu_total"),),  # with --enable-mfu-metrics
    preemptions=(Pick("sglang:num_retracted_requests_total", zero_beside=_LIVE),),
    recomputed_tokens=(
        Pick(
            "sglang:num_retracted_input_tokens_total",
            plus=(Pick("sglang:num_retracted_output_tokens_total"),),
            zero_beside=_LIVE,
        ),
    ),
    time_to_first_token=(Pick("sglang:time_to_first_token_seconds"),),
    time_per_output_token=(Pick("sglang:request_time_per_output_token_seconds"),),
    inter_token_latency=(Pick("sglang:inter_token_latency_seconds"),),
    # With priorities, each has a series of its own beside the total, whose label is empty.
    running=(Pick("sglang:num_running_reqs", where(priority="")),),
    waiting=(Pick("sglang:num_queue_reqs", where(priority="")),),
    kv_cache_usage=(Pick("sglang:token_usage"),),
    process_start=(),
)

SGLANG_BEFORE_0_5_8 = replace(
    SGLANG,
    name="sglang-before-0.5.8",
    also="sglang",
    title="SGLang before 0.5.8",
    launch=None,
    known_from="source (0.4.6, 0.5.3)",
    counts_at="request_end",
    caveats=(
        "Needs `--enable-metrics`. perwatt recognises it if `sglang` is configured.",
        "The metric of aborts appears with the first abort. Until then, neither aborted nor successful "
        "requests are known.",
        "The warm-up counts as work, as in later versions.",
    ),
    recognised_by=frozenset({"sglang:generation_tokens_total", "sglang:prompt_tokens_total"}),
    output_tokens=(Pick("sglang:generation_tokens_total"),),
    prompt_tokens=(Pick("sglang:prompt_tokens_total"),),
    prompt_computed=(),
    prompt_cached=(Pick("sglang:cached_tokens_total", zero_beside="sglang:prompt_tokens_total"),),
    requests_ended=(Pick("sglang:num_requests_total"),),
    requests_aborted=(Pick(_ABORTED),),
    recomputed_tokens=(),
    flops_per_gpu=(),
    preemptions=(),
)

SGLANG_WITH_UNDERSCORE = replace(
    SGLANG,
    name="sglang-with-underscore",
    also="sglang",
    title="SGLang 0.5.8 and later, names with an underscore",
    launch=None,
    known_from="names in its dashboards",
    caveats=("Where a collector stands between, the colon of a name may be an underscore: `sglang_`.",),
    **renamed(SGLANG, "sglang:", "sglang_"),
)

SGLANG_BEFORE_0_5_8_WITH_UNDERSCORE = replace(
    SGLANG_BEFORE_0_5_8,
    name="sglang-with-underscore-before-0.5.8",
    also="sglang",
    title="SGLang before 0.5.8, names with an underscore",
    known_from="names in its dashboards",
    caveats=("As above, for older versions.",),
    **renamed(SGLANG_BEFORE_0_5_8, "sglang:", "sglang_"),
)

ROWS = (
    SGLANG,
    SGLANG_BEFORE_0_5_8,
    SGLANG_WITH_UNDERSCORE,
    SGLANG_BEFORE_0_5_8_WITH_UNDERSCORE,
)
