"""Hugging Face Text Generation Inference."""

from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.engine.launch import Launch

TGI = EngineKind(
    name="tgi",
    title="Hugging Face TGI",
    known_from="source, documentation",
    counts_at="request_end",
    port=3000,
    model_label="",
    caveats=(
        "Prompt tokens are absent, as cached ones are not separated. Configure the model.",
        "In its Docker image the port is 80.",
        "Its time per output token is the whole time of a request, prefill included, divided by its tokens. "
        "It has no time to first token.",
    ),
    launch=Launch(
        serves=r"text-generation-(launcher|router)\b",
        default_port=3000,
        port_options=("--port", "-p"),
        port_variable="PORT",
        degrees=(("--num-shard",),),
    ),
    prefix="tgi_",
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

ROWS = (TGI,)
