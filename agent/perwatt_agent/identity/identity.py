"""Who a process works for, and what its workload is called by that."""

import msgspec
from msgspec import Struct

from perwatt_agent.facts.workload import WorkloadInfo

# Answers are waited for this long, well before workloads are shown without them (30 s).
PATIENCE_SECONDS = 15.0


class Identity(Struct, frozen=True):
    """Whom a process or a GPU serves. What could not be found out is empty."""

    systemd_unit: str = ""
    slurm_job: str = ""
    k8s_namespace: str = ""
    k8s_pod: str = ""
    k8s_container: str = ""
    container_id: str = ""
    pod_uid: str = ""


NOBODY = Identity()
_LABELS = ("systemd_unit", "slurm_job", "k8s_namespace", "k8s_pod", "k8s_container")


def workload_name(identity: Identity, engine: str, port: int) -> str:
    """
    Return what a workload without a configured name is called, by the best that is known of it.

    Empty while neither the identity nor the engine is known.
    """
    if identity.slurm_job:
        return f"slurm-{identity.slurm_job}"
    if identity.k8s_pod:
        return f"{identity.k8s_namespace}/{identity.k8s_pod}/{identity.k8s_container}"
    if identity.systemd_unit:
        return identity.systemd_unit
    return f"{engine}-{port}" if engine else ""


def described(info: WorkloadInfo, identity: Identity) -> WorkloadInfo:
    """Return *info* with the labels that *identity* has for it; its name is left as it is."""
    labels = {label: text for label in _LABELS if (text := getattr(identity, label))}
    return msgspec.structs.replace(info, **labels)
