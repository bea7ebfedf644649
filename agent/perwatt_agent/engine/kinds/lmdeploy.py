"""LMDeploy."""

import re

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import DATA_PARALLEL, TENSOR_PARALLEL, Launch

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
    launch=Launch(
        serves=re.compile(r"lmdeploy serve api_server\b|lmdeploy\.serve\.openai\.api_server\b"),
        default_port=23333,
        port_options=("--server-port",),
        degrees=(TENSOR_PARALLEL, DATA_PARALLEL),
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

ROWS = (LMDEPLOY,)
