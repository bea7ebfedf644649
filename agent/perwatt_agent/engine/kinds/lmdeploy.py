"""LMDeploy."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import DATA_PARALLEL, TENSOR_PARALLEL, Launch

LMDEPLOY = EngineKind(
    name="lmdeploy",
    title="LMDeploy",
    known_from="source (0.18.0)",
    counts_at="live",
    port=23333,
    caveats=(
        "With `--disable-metrics` there is no page.",
        "Computed prompt tokens are absent: cached ones are counted when a request ends, all prompt tokens "
        "before that.",
        "Ended requests are absent: the source does not show which of them count as successful.",
        "`lmdeploy:time_per_output_token_seconds` is observed during generation, not once a request, and is "
        "not read.",
    ),
    launch=Launch(
        serves=r"lmdeploy serve api_server\b|lmdeploy\.serve\.openai\.api_server\b",
        default_port=23333,
        port_options=("--server-port",),
        degrees=(TENSOR_PARALLEL, DATA_PARALLEL),
    ),
    prefix="lmdeploy:",
    recognised_by=frozenset({"lmdeploy:generation_tokens_total", "lmdeploy:prompt_tokens_total"}),
    output_tokens=(Pick("lmdeploy:generation_tokens_total"),),
    prompt_cached=(Pick("lmdeploy:cached_tokens_total"),),
    time_to_first_token=(Pick("lmdeploy:time_to_first_token_seconds"),),
    inter_token_latency=(Pick("lmdeploy:iter_token_latency"),),
    running=(Pick("lmdeploy:num_requests_running"),),
    waiting=(Pick("lmdeploy:num_requests_waiting"),),
    kv_cache_usage=(Pick("lmdeploy:gpu_cache_usage_perc"),),
)

ROWS = (LMDEPLOY,)
