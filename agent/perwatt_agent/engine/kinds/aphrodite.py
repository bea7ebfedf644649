"""Aphrodite, which shows vLLM's metrics under a prefix of its own."""

from msgspec.structs import replace

from perwatt_agent.engine.kind import renamed
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.launch import DATA_PARALLEL, PIPELINE_PARALLEL, TENSOR_PARALLEL, Launch

APHRODITE = replace(
    VLLM,
    name="aphrodite",
    title="Aphrodite",
    known_from="its descent from vLLM",
    port=2242,
    caveats=("What holds for vLLM holds here.",),
    launch=Launch(
        serves=r"aphrodite (run|serve)\b|aphrodite\.endpoints\.\S*api_server\b",
        default_port=2242,
        degrees=(TENSOR_PARALLEL, PIPELINE_PARALLEL, DATA_PARALLEL),
    ),
    **renamed(VLLM, "vllm:", "aphrodite:"),
)

ROWS = (APHRODITE,)
