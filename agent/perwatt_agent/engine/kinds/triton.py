"""Triton Inference Server."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import Launch

TRITON = EngineKind(
    name="triton",
    title="Triton Inference Server",
    known_from="documentation",
    tried_last=True,
    counts_at="request_end",
    port=8002,
    model_label="model",
    rank_labels=(),
    caveats=(
        "Requests only: its core metrics have no tokens of any backend, so there are no tokens per joule.",
        "If a page has several models, the endpoint's `model` selects one.",
    ),
    launch=Launch(
        serves=r"tritonserver\b",
        default_port=8002,
        port_options=("--metrics-port",),
    ),
    prefix="nv_inference_",
    recognised_by=frozenset({"nv_inference_request_success"}),
    requests_ok=(Pick("nv_inference_request_success"),),
    requests_failed=(Pick("nv_inference_request_failure"),),
    process_start=(),
)

ROWS = (TRITON,)
