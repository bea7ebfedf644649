"""TensorRT-LLM's server."""

from perwatt_agent.engine.kind import EngineKind, Pick, where
from perwatt_agent.engine.launch import PIPELINE_PARALLEL, TENSOR_PARALLEL, Launch

_ENDED = "trtllm_request_success_total"


TRTLLM = EngineKind(
    name="trtllm",
    title="TensorRT-LLM's trtllm-serve",
    known_from="source, documentation",
    counts_at="request_end",
    port=8000,
    paths=("/prometheus/metrics",),
    draining_paths=("/metrics",),
    caveats=(
        "Up to 1.2 it has no counters of tokens: there are requests only.",
        "Needs `return_perf_metrics: true`, and `enable_iter_perf_stats: true` for gauges.",
        "`/metrics` is a queue: reading it removes its content. perwatt rejects this path if the engine is "
        "configured as `trtllm`, and never reads a page again that turns out to be such a queue.",
        "Effective tokens are absent. If the page gives the model as `undefined`, configure the model.",
    ),
    launch=Launch(
        serves=r"trtllm-serve\b|tensorrt_llm\.commands\.serve\b",
        default_port=8000,
        degrees=(TENSOR_PARALLEL, PIPELINE_PARALLEL),
    ),
    prefix="trtllm_",
    recognised_by=frozenset({"trtllm_generation_tokens_total", _ENDED, "trtllm_num_requests_running"}),
    output_tokens=(Pick("trtllm_generation_tokens_total"),),
    prompt_tokens=(Pick("trtllm_prompt_tokens_total"),),
    prompt_cached=(Pick("trtllm_prompt_cached_tokens_total"),),
    requests_ok=(Pick(_ENDED, where(finished_reason=frozenset({"stop", "length"}))),),
    requests_aborted=(Pick(_ENDED, where(finished_reason="cancelled")),),
    requests_failed=(Pick("trtllm_request_error_total", zero_beside=_ENDED),),
    requests_cut_short=(Pick(_ENDED, where(finished_reason="timeout")),),
    draft_tokens=(Pick("trtllm_spec_decode_num_draft_tokens_total"),),
    accepted_draft_tokens=(Pick("trtllm_spec_decode_num_accepted_tokens_total"),),
    time_to_first_token=(Pick("trtllm_time_to_first_token_seconds"),),
    time_per_output_token=(Pick("trtllm_time_per_output_token_seconds"),),
    running=(Pick("trtllm_num_requests_running"),),
    waiting=(Pick("trtllm_num_requests_waiting"),),
    kv_cache_usage=(Pick("trtllm_kv_cache_utilization"),),
    process_start=(),
)

ROWS = (TRTLLM,)
