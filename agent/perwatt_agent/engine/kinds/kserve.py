"""KServe, which shows vLLM's metrics under a prefix of its own."""

import re

from msgspec.structs import replace

from perwatt_agent.engine.kind import renamed
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.launch import Launch

KSERVE = replace(
    VLLM,
    name="kserve",
    title="KServe, with its prefix `kserve_vllm:`",
    known_from="documentation",
    port=8080,
    caveats=("Its runtime without the prefix is read as vLLM.",),
    launch=Launch(
        serves=re.compile(r"huggingfaceserver\b"),
        default_port=8080,
        port_options=("--http-port",),
    ),
    **renamed(VLLM, "vllm:", "kserve_vllm:"),
)

ROWS = (KSERVE,)
