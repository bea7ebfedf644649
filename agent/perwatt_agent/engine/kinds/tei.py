"""Hugging Face text-embeddings-inference."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import Launch

TEI = EngineKind(
    name="tei",
    title="text-embeddings-inference",
    known_from="source",
    counts_at="live",
    port=80,
    model_label="",
    caveats=(
        "It has no output: the useful unit is prompt tokens, all of which are computed. Configure the model.",
        "In its gRPC image, the metrics have their own port, 9000.",
    ),
    launch=Launch(
        serves=r"text-embeddings-router\b",
        default_port=3000,
        port_options=("--port", "-p"),
        port_variable="PORT",
    ),
    prefix="te_",
    recognised_by=frozenset({"te_batch_next_tokens_sum", "te_request_success", "te_queue_size"}),
    prompt_computed=(Pick("te_batch_next_tokens_sum"),),
    requests_ok=(Pick("te_request_success"),),
    requests_failed=(Pick("te_request_failure", zero_beside="te_request_success"),),
    waiting=(Pick("te_queue_size"),),
    process_start=(),
)

ROWS = (TEI,)
