"""KServe's runtime for Hugging Face models, which shows vLLM's page."""

from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.launch import Launch

KSERVE = EngineKind(
    name="kserve",
    shows="vllm",
    title="KServe's runtime for Hugging Face models",
    known_from="documentation",
    counts_at="live",
    port=8080,
    caveats=(
        "Its page is vLLM's, and is read as vLLM. The prefix `kserve_vllm:` exists only in a Prometheus that "
        "relabels, and on no page.",
        "KServe can start vLLM with a certificate: discovery then reads the page over HTTPS.",
    ),
    launch=Launch(
        serves=r"huggingfaceserver\b",
        default_port=8080,
        port_options=("--http-port",),
    ),
    recognised_by=frozenset(),
    process_start=(),
)

ROWS = (KSERVE,)
