"""Ray Serve LLM, which shows the metrics of vLLM and SGLang under prefixes of its own."""

import re

from msgspec.structs import replace

from perwatt_agent.engine.kind import renamed
from perwatt_agent.engine.kinds.sglang import SGLANG, SGLANG_BEFORE_0_5_8
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

RAY_WITH_COLON = replace(
    RAY,
    name="ray-with-colon",
    also="ray",
    title="Ray Serve LLM (vLLM), names with a colon",
    launch=None,
    caveats=("Older versions of Ray keep the colon of a name: `ray_vllm:`.",),
    **renamed(RAY, "ray_vllm_", "ray_vllm:"),
)

RAY_SGLANG = replace(
    SGLANG,
    name="ray-sglang",
    also="ray",
    title="Ray Serve LLM (SGLang)",
    known_from="names in its dashboards",
    port=8080,
    rank_labels=("dp_rank", "WorkerId", "ReplicaId"),
    launch=None,
    caveats=("What holds for SGLang holds here.", "A counter is absent while it is 0."),
    **renamed(SGLANG, "sglang:", "ray_sglang_") | {"http_rejected": (), "http_failed": ()},
)

RAY_SGLANG_BEFORE_0_5_8 = replace(
    SGLANG_BEFORE_0_5_8,
    name="ray-sglang-before-0.5.8",
    also="ray",
    title="Ray Serve LLM (SGLang before 0.5.8)",
    known_from="names in its dashboards",
    port=8080,
    rank_labels=("dp_rank", "WorkerId", "ReplicaId"),
    caveats=("What holds for SGLang before 0.5.8 holds here.",),
    **renamed(SGLANG_BEFORE_0_5_8, "sglang:", "ray_sglang_") | {"http_rejected": (), "http_failed": ()},
)

ROWS = (RAY, RAY_WITH_COLON, RAY_SGLANG, RAY_SGLANG_BEFORE_0_5_8)
