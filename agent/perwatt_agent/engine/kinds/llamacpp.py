"""llama.cpp's server."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import Launch

LLAMACPP = EngineKind(
    name="llamacpp",
    title="llama.cpp's llama-server",
    known_from="recorded pages",
    counts_at="request_end",
    port=8080,
    model_label="",
    caveats=(
        "Needs `--metrics`, and `bearer_token_file` if the server has an API key.",
        "Numbers have six digits: above 1e6 the counts move in steps of 10, above 1e7 in steps of 100, and "
        "so on. The error of a count is at most half a step, that of a difference at most one step. No count "
        "decreases.",
        "A router's page is requested by model, `?model=...`, and the request would load that model. perwatt "
        "always adds `autoload=false`.",
        "Gauges that are means between two scrapes are not read, as each reader changes them. By reading the "
        "page, perwatt shortens the means of other readers.",
        "In builds of December 2025 to August 2026, each read of the page restarts the time to sleep. Set "
        "`engines.interval` above the server's `--sleep-idle-seconds`, or it never sleeps.",
        "Requests are not counted. The output of an aborted request is counted up to its abort.",
    ),
    launch=Launch(
        serves=r"llama-server\b|llama serve\b|llama\.cpp/server\b",
        default_port=8080,
        port_variable="LLAMA_ARG_PORT",
        each_alone=True,
    ),
    prefix="llamacpp:",
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

ROWS = (LLAMACPP,)
