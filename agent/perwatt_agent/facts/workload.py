"""Workloads, as published: identity, engine counts, and the joules attributed to them."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.engine_counts import EngineCounts

Role = Literal["mixed", "prefill", "decode", "router", "trainer"]
Method = Literal["exclusive", "mig_activity", "mig_slice", "sm_share", "busy_share", "equal"]


class WorkloadInfo(Struct, frozen=True):
    """Identity of a workload; immutable once exported. Unknown labels are empty."""

    workload: str
    group: str = ""
    role: Role = "mixed"
    engine: str = ""
    k8s_namespace: str = ""
    k8s_pod: str = ""
    k8s_container: str = ""
    slurm_job: str = ""
    systemd_unit: str = ""


class WorkloadGpuEnergy(Struct, frozen=True):
    """
    Board joules of one GPU that belong to one workload, by the workload's activity.

    `method` is how its latest share of the GPU was computed; None if it no longer holds the GPU.
    """

    gpu: str
    active_joules: float
    idle_joules: float
    loading_joules: float
    method: Method | None = None


class WorkloadSnapshot(Struct, frozen=True):
    """
    One workload at the instant up to which its tokens and joules are attributed together.

    `counts` is None until the first page is attributed; `up` is False while the page cannot be reached.
    `info` must not be shown before it is final, and never changes after. `missing_gpus` is the number of GPUs
    that it requested and does not hold on this node.
    """

    info: WorkloadInfo
    up: bool
    info_is_final: bool = True
    counts: EngineCounts | None = None
    energy: tuple[WorkloadGpuEnergy, ...] = ()
    covered_seconds: float = 0.0
    missing_gpus: int | None = None
