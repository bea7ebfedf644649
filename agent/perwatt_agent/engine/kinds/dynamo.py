"""NVIDIA Dynamo: its frontend's page and its workers' launches."""

from perwatt_agent.engine.kind import EngineKind, Pick, where
from perwatt_agent.engine.launch import Launch

DYNAMO = EngineKind(
    name="dynamo",
    title="Dynamo's frontend",
    known_from="recorded on a real one (1.6.1)",
    tried_last=True,
    counts_at="request_end",
    port=8000,
    frontend=True,
    model_label="model",
    rank_labels=(),
    caveats=(
        "A worker passes the metrics of its engine through, and is read as that engine. The frontend counts "
        "the same tokens again. It therefore shows only running and waiting requests if an engine with a "
        "page holds one of its GPUs, or if it holds no GPU (`gpus: []`, `role: router`).",
        "Metrics appear with the first request.",
        "`dynamo_frontend_output_tokens_total` misses tokens that are not streamed, and is not read. Input "
        "tokens miss them too, so computed prompt tokens are absent.",
    ),
    launch=Launch(
        # A worker; the frontend is on no GPU. Its page is off unless its environment names a port.
        serves=r"dynamo\.(vllm|sglang|trtllm|triton|tokenspeed)\b",
        port_options=(),
        # A decode worker of older releases has no option of its own: NIXL joins all workers by default.
        shares_kv=r"\bdynamo\.vllm\b(?!.*--connector\b(?!.*\bnixl\b))",
        port_variable="DYN_SYSTEM_PORT",
    ),
    prefix="dynamo_frontend_",
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

ROWS = (DYNAMO,)
