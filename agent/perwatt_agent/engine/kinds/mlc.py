"""MLC-LLM."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import Launch

MLC = EngineKind(
    name="mlc",
    title="MLC-LLM",
    known_from="names in its source",
    tried_last=True,
    counts_at="request_end",
    port=8000,
    model_label="",
    caveats=(
        "Its page shows only the first engine. Configure the model.",
        "It shows neither ended nor running requests.",
    ),
    launch=Launch(serves=r"mlc_llm serve\b", default_port=8000),
    recognised_by=frozenset({"completion_tokens_sum"}),
    output_tokens=(Pick("completion_tokens_sum"),),
    prompt_tokens=(Pick("prompt_tokens_sum"),),
    prompt_computed=(Pick("prefill_tokens_sum"),),
    process_start=(),
)

ROWS = (MLC,)
