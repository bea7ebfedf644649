"""Ray Serve LLM, which shows the metrics of vLLM and SGLang under prefixes of its own."""

from msgspec.structs import replace

from perwatt_agent.engine.kind import Pick, renamed
from perwatt_agent.engine.kinds.sglang import SGLANG, SGLANG_BEFORE_0_5_8
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.launch import Launch


def _hits(cache: str) -> Pick:
    return Pick(f"ray_vllm_{cache}_hits_total", zero_beside=f"ray_vllm_{cache}_queries_total")


# Before vLLM's pull request 40840, all series of a counter had the labels of the last one. Prompt tokens by
# source are therefore not read: the totals of the caches tell the same.
# Ray's node agent serves the page, so the HTTP requests and the process start on it are not the engine's.
RAY = replace(
    VLLM,
    name="ray",
    title="Ray Serve LLM (vLLM)",
    known_from="source, documentation",
    port=8080,
    rank_labels=("engine", "WorkerId", "ReplicaId"),
    ends_may_share_reason=True,
    caveats=(
        "A counter is absent while it is 0.",
        "Before vLLM's pull request 40840, every end counts as `repetition`. If no end has another reason, "
        "successful, failed and effective counts are absent.",
        "Some versions show both `X` and `X_total`: only `X_total` is read.",
        "Needs `log_engine_metrics`. Its port, that of the metrics agent, depends on the installation.",
    ),
    launch=Launch(
        # Ray starts all replicas and executors of a node; its agent serves one page for all of them. The
        # executors are RayWorkerProc since vLLM 0.29.
        serves=r"raylet --|ray::DashboardAgent\b|agent\.py .*--metrics-export-port",
        port_options=("--metrics-export-port",),
        through=r"ray::(ServeReplica|RayWorkerWrapper|RayWorkerProc)\b",
    ),
    **renamed(VLLM, "vllm:", "ray_vllm_")
    | {
        "prompt_computed": (),
        "prompt_cached": (_hits("prefix_cache"),),
        "prompt_external": (_hits("external_prefix_cache"),),
        "prompt_own_tiers": (),
        "prompt_unnamed_tier": (),
        "http_rejected": (),
        "http_failed": (),
        "requests_failed": (),
        "process_start": (),
    },
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
