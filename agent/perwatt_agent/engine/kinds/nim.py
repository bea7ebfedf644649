"""NVIDIA NIM for LLMs."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.kinds.vllm import VLLM_PROGRAMS
from perwatt_agent.engine.launch import Launch

NIM = EngineKind(
    name="nim",
    title="NVIDIA NIM for LLMs 1.x, bare names",
    known_from="documentation",
    tried_last=True,
    counts_at="live",
    port=8000,
    paths=("/v1/metrics", "/metrics"),
    caveats=(
        "A NIM with `vllm:` metrics is read as vLLM.",
        "Prompt tokens are absent, as cached ones are not separated. Failures are absent, as their kinds are "
        "not separated.",
    ),
    launch=Launch(
        # Release 2 launches vLLM, which then serves.
        serves=(
            r"(nim_llm_sdk|vllm_nvext)\.entrypoints\.\S*(launch|api_server)\b|nim-serve\b|" + VLLM_PROGRAMS
        ),
        default_port=8000,
        port_variable="NIM_SERVER_PORT",
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

ROWS = (NIM,)
