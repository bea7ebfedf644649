"""Ray Serve LLM, which shows vLLM's metrics under a prefix of its own."""

import re

from msgspec.structs import replace

from perwatt_agent.engine.kind import renamed
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.launch import Launch

# Ray's node agent serves the page, so the HTTP requests and the process start on it are not the engine's.
RAY = replace(
    VLLM,
    name="ray",
    title="Ray Serve LLM (vLLM)",
    known_from="source, documentation",
    port=8080,
    rank_labels=("engine", "WorkerId", "ReplicaId"),
    caveats=(
        "A counter is absent while it is 0.",
        "Some versions show both `X` and `X_total`: only `X_total` is read.",
        "Needs `log_engine_metrics`. Its port, that of the metrics agent, depends on the installation.",
    ),
    launch=Launch(
        # Ray starts all replicas and executors of a node; its agent serves one page for all of them. The
        # executors are RayWorkerProc since vLLM 0.29.
        serves=re.compile(r"raylet --|ray::DashboardAgent\b|agent\.py .*--metrics-export-port"),
        port_options=("--metrics-export-port",),
        through=re.compile(r"ray::(ServeReplica|RayWorkerWrapper|RayWorkerProc)\b"),
    ),
    **renamed(VLLM, "vllm:", "ray_vllm_")
    | {"http_rejected": (), "http_failed": (), "requests_failed": (), "process_start": ()},
)

ROWS = (RAY,)
