"""The engines that share no names with others, a row each."""

from perwatt_agent.engine.kinds.row import EngineKind, Pick, where

LLAMACPP = EngineKind(
    name="llamacpp",
    title="llama.cpp's llama-server",
    known_from="recorded pages",
    counts_at="request_end",
    port=8080,
    model_label="",
    caveats=(
        "Needs `--metrics`, and the API key where there is one: `bearer_token_file`.",
        "Numbers have six digits: above 1e6 the counts move in steps of 10, above 1e7 of 100, and so on. A "
        "count is off by at most half a step, a difference of two by at most a step; none ever falls.",
        "A router's page names a model, `?model=...`, and asking for it would load that model: "
        "`autoload=false` is always added.",
        "Gauges that are means between two scrapes are not read, for another reader changes them; but by "
        "reading the page perwatt shortens the means of other readers.",
        "Requests are not counted. Aborted ones are in the output as far as they came.",
    ),
    recognised_by=frozenset({"llamacpp:tokens_predicted_total"}),
    output_tokens=(Pick("llamacpp:tokens_predicted_total"),),
    prompt_computed=(Pick("llamacpp:prompt_tokens_total"),),
    prompt_cached=(Pick("llamacpp:prompt_tokens_cached_total"),),
    draft_tokens=(Pick("llamacpp:spec_decode_num_draft_tokens_total"),),
    accepted_draft_tokens=(Pick("llamacpp:spec_decode_num_accepted_tokens_total"),),
    running=(Pick("llamacpp:requests_processing"),),
    waiting=(Pick("llamacpp:requests_deferred"),),
    kv_cache_usage=(Pick("llamacpp:kv_cache_usage_ratio"),),  # older builds
    process_start=(),
)

TGI = EngineKind(
    name="tgi",
    title="Hugging Face TGI",
    known_from="source, documentation",
    counts_at="request_end",
    port=3000,
    model_label="",
    caveats=(
        "Prompt tokens are not told apart by cache: absent. The model must be configured.",
        "In its Docker image the port is 80.",
        "Its time per output token is a request's whole time over its tokens, the prefill included. It has "
        "no time to first token.",
    ),
    recognised_by=frozenset(
        {
            "tgi_request_generated_tokens_sum",
            "tgi_request_success",
            "tgi_batch_current_size",
            "tgi_queue_size",
        }
    ),
    output_tokens=(Pick("tgi_request_generated_tokens_sum"),),
    requests_ok=(Pick("tgi_request_success"),),
    requests_failed=(Pick("tgi_request_failure", zero_beside="tgi_request_success"),),
    time_per_output_token=(Pick("tgi_request_mean_time_per_token_duration"),),
    running=(Pick("tgi_batch_current_size"),),
    waiting=(Pick("tgi_queue_size"),),
    process_start=(),
)

_TRTLLM_ENDED = "trtllm_request_success_total"

TRTLLM = EngineKind(
    name="trtllm",
    title="TensorRT-LLM's trtllm-serve",
    known_from="source, documentation",
    counts_at="request_end",
    port=8000,
    paths=("/prometheus/metrics",),
    draining_paths=("/metrics",),
    caveats=(
        "Needs `return_perf_metrics: true`, for gauges also `enable_iter_perf_stats: true`.",
        "`/metrics` is another page: reading it takes away what is in it. It is refused where `trtllm` is "
        "configured, and where a page turns out to be such a queue it is never read again.",
        "Effective tokens are absent. The model may be given as `undefined`, and must then be configured.",
    ),
    recognised_by=frozenset({"trtllm_generation_tokens_total", _TRTLLM_ENDED, "trtllm_num_requests_running"}),
    output_tokens=(Pick("trtllm_generation_tokens_total"),),
    prompt_tokens=(Pick("trtllm_prompt_tokens_total"),),
    prompt_cached=(Pick("trtllm_prompt_cached_tokens_total"),),
    requests_ok=(Pick(_TRTLLM_ENDED, where(finished_reason=frozenset({"stop", "length"}))),),
    requests_aborted=(Pick(_TRTLLM_ENDED, where(finished_reason="cancelled")),),
    requests_failed=(Pick("trtllm_request_error_total", zero_beside=_TRTLLM_ENDED),),
    requests_cut_short=(Pick(_TRTLLM_ENDED, where(finished_reason="timeout")),),
    draft_tokens=(Pick("trtllm_spec_decode_num_draft_tokens_total"),),
    accepted_draft_tokens=(Pick("trtllm_spec_decode_num_accepted_tokens_total"),),
    time_to_first_token=(Pick("trtllm_time_to_first_token_seconds"),),
    time_per_output_token=(Pick("trtllm_time_per_output_token_seconds"),),
    running=(Pick("trtllm_num_requests_running"),),
    waiting=(Pick("trtllm_num_requests_waiting"),),
    kv_cache_usage=(Pick("trtllm_kv_cache_utilization"),),
    process_start=(),
)

TRITON = EngineKind(
    name="triton",
    title="Triton Inference Server",
    known_from="documentation",
    counts_at="request_end",
    port=8002,
    model_label="model",
    rank_labels=(),
    caveats=(
        "Requests only: no backend's tokens are in its core metrics. Nothing is divided by them.",
        "Of several models on a page, the endpoint's `model` chooses one.",
    ),
    recognised_by=frozenset({"nv_inference_request_success"}),
    requests_ok=(Pick("nv_inference_request_success"),),
    requests_failed=(Pick("nv_inference_request_failure"),),
    process_start=(),
)

DYNAMO = EngineKind(
    name="dynamo",
    title="Dynamo's frontend",
    known_from="recorded on a real one (1.6.1)",
    counts_at="request_end",
    port=8000,
    frontend=True,
    model_label="model",
    rank_labels=(),
    caveats=(
        "A worker passes its engine's families through and is read as that engine; the frontend counts the "
        "same tokens once more. It therefore counts by itself only: beside a page of an engine that holds "
        "one of its GPUs, and where it holds none (`gpus: []`, `role: router`), it shows what runs and "
        "waits, and neither tokens nor ended requests.",
        "Families appear with the first request.",
        "`dynamo_frontend_output_tokens_total` misses what is not streamed and is not read; input tokens "
        "miss the same, so computed prompt tokens are absent.",
    ),
    recognised_by=frozenset({"dynamo_frontend_output_sequence_tokens_sum"}),
    output_tokens=(Pick("dynamo_frontend_output_sequence_tokens_sum"),),
    prompt_cached=(Pick("dynamo_frontend_cached_tokens_sum"),),
    requests_ok=(Pick("dynamo_frontend_requests_total", where(status="success")),),
    requests_failed=(Pick("dynamo_frontend_requests_total", where(status="error")),),
    time_to_first_token=(Pick("dynamo_frontend_time_to_first_token_seconds"),),
    inter_token_latency=(Pick("dynamo_frontend_inter_token_latency_seconds"),),
    running=(Pick("dynamo_frontend_inflight_requests"),),
    waiting=(Pick("dynamo_frontend_queued_requests"),),
    process_start=(),
)

LMDEPLOY = EngineKind(
    name="lmdeploy",
    title="LMDeploy",
    known_from="source (0.18.0)",
    counts_at="live",
    port=23333,
    caveats=(
        "`--disable-metrics` leaves no page.",
        "Cached prompt tokens are counted at a request's end and all prompt tokens before, so computed ones "
        "cannot be told while requests run: absent.",
        "Ended requests: what counts as ended well could not be traced, so they are absent.",
        "`lmdeploy:time_per_output_token_seconds` is observed as it generates, not once a request, and is "
        "not read.",
    ),
    recognised_by=frozenset({"lmdeploy:generation_tokens_total", "lmdeploy:prompt_tokens_total"}),
    output_tokens=(Pick("lmdeploy:generation_tokens_total"),),
    prompt_cached=(Pick("lmdeploy:cached_tokens_total"),),
    time_to_first_token=(Pick("lmdeploy:time_to_first_token_seconds"),),
    inter_token_latency=(Pick("lmdeploy:iter_token_latency"),),
    running=(Pick("lmdeploy:num_requests_running"),),
    waiting=(Pick("lmdeploy:num_requests_waiting"),),
    kv_cache_usage=(Pick("lmdeploy:gpu_cache_usage_perc"),),
)

MLC = EngineKind(
    name="mlc",
    title="MLC-LLM",
    known_from="names in its source",
    counts_at="request_end",
    port=8000,
    model_label="",
    caveats=(
        "Its page shows the first engine only. The model must be configured.",
        "Neither requests nor what runs is known.",
    ),
    recognised_by=frozenset({"completion_tokens_sum"}),
    output_tokens=(Pick("completion_tokens_sum"),),
    prompt_tokens=(Pick("prompt_tokens_sum"),),
    prompt_computed=(Pick("prefill_tokens_sum"),),
    process_start=(),
)

TEI = EngineKind(
    name="tei",
    title="text-embeddings-inference",
    known_from="source",
    counts_at="live",
    port=80,
    model_label="",
    caveats=(
        "No output: the useful unit is prompt tokens, all of which are computed. The model must be "
        "configured.",
        "In its gRPC image the metrics have a port of their own, 9000.",
    ),
    recognised_by=frozenset({"te_batch_next_tokens_sum", "te_request_success", "te_queue_size"}),
    prompt_computed=(Pick("te_batch_next_tokens_sum"),),
    requests_ok=(Pick("te_request_success"),),
    requests_failed=(Pick("te_request_failure", zero_beside="te_request_success"),),
    waiting=(Pick("te_queue_size"),),
    process_start=(),
)
