"""Identity of a process or a GPU, and the workload name made from it."""

import msgspec
from msgspec import Struct

from perwatt_agent.facts.workload import WorkloadInfo

# Maximum wait for look-ups; workloads are shown without them after 30 s.
LOOKUP_SECONDS = 15.0


class Identity(Struct, frozen=True):
    """
    Unit, job, pod and container of a process or a GPU. Unknown fields are empty.

    `slurm_sluid` is the job's name in cgroups of Slurm 26.05 or later, which is not its number.
    """

    systemd_unit: str = ""
    slurm_job: str = ""
    k8s_namespace: str = ""
    k8s_pod: str = ""
    k8s_container: str = ""
    container_id: str = ""
    pod_uid: str = ""
    slurm_sluid: str = ""


UNKNOWN = Identity()
_LABELS = ("systemd_unit", "slurm_job", "k8s_namespace", "k8s_pod", "k8s_container")


def workload_name(identity: Identity, engine: str, port: int) -> str:
    """
    Return the name of a workload without a configured name: Slurm job, pod, systemd unit, or engine and port.

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
    """Return *info* with the labels of *identity*. Its name does not change."""
    labels = {label: text for label in _LABELS if (text := getattr(identity, label))}
    return msgspec.structs.replace(info, **labels)
