"""Identifier of processes and GPUs: from cgroups, Slurm's files and the kubelet."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.identity.cgroup import identity_in
from perwatt_agent.identity.identity import UNKNOWN, Identity
from perwatt_agent.identity.pod_resources import Container
from perwatt_agent.identity.slurm import SlurmJobMap

_MAX_BYTES = 64 * 1024
_MAX_ENVIRONMENT_BYTES = 256 * 1024
_JOB_VARIABLE = rb"\0SLURM_JOB_ID=([0-9]{1,10})(?=\0|\Z)"


class PodHolders(Protocol):
    """Containers that hold a GPU or its MIG instances; `pending` until the first answer or a timeout."""

    @property
    def pending(self) -> bool: ...

    def holders(self, gpu: GpuInfo, migs: Sequence[str] = ()) -> tuple[Container, ...]: ...


class Identifier:
    """
    Looks up processes under *proc*, and GPUs in Slurm's job map and in the kubelet's pods if configured.

    A failed look-up leaves its fields empty and never raises.
    """

    def __init__(
        self, proc: Path = Path("/proc"), *, jobs: SlurmJobMap | None = None, pods: PodHolders | None = None
    ) -> None:
        self._proc = proc
        self._jobs = jobs
        self._pods = pods

    @property
    def pending(self) -> bool:
        """Whether an answer about GPUs is still expected; until then, workloads get no name."""
        return self._pods is not None and self._pods.pending

    @property
    def has_gpu_sources(self) -> bool:
        """Whether a GPU alone can identify a workload."""
        return self._jobs is not None or self._pods is not None

    def identify(self, pid: int | None, gpus: Sequence[GpuInfo] = ()) -> Identity:
        """
        Return the identity of a process, from its cgroup and the GPUs that it holds.

        Its cgroup takes precedence over its GPUs. Without a *pid*, only the GPUs count.
        """
        own = UNKNOWN if pid is None else self._by_cgroup(pid)
        if pid is not None and own.slurm_sluid:
            return msgspec.structs.replace(own, slurm_job=self._job_number(pid, own, gpus))
        if own.slurm_job:
            return own
        # A process outside a pod is not the pod's, even on its GPU; a systemd service belongs to no job.
        if own.pod_uid or own == UNKNOWN:
            own = self._with_pod(own, gpus)
        if not (own.k8s_pod or own.pod_uid or own.systemd_unit):
            own = self._with_job(own, gpus)
        return own

    def _by_cgroup(self, pid: int) -> Identity:
        return identity_in(self._read(pid, "cgroup", _MAX_BYTES).decode("utf-8", "replace"))

    def _read(self, pid: int, name: str, max_bytes: int) -> bytes:
        """Return the start of a file of a process; empty if it ended, or may not be read."""
        try:
            with (self._proc / str(pid) / name).open("rb") as file:
                return file.read(max_bytes)
        except OSError:
            return b""

    def _job_number(self, pid: int, own: Identity, gpus: Sequence[GpuInfo]) -> str:
        """Return the number of a job whose cgroup has its SLUID; the SLUID if the number is not known."""
        found = re.search(_JOB_VARIABLE, b"\0" + self._read(pid, "environ", _MAX_ENVIRONMENT_BYTES))
        number = found[1].decode() if found else ""
        return number or self._with_job(own, gpus).slurm_job or own.slurm_sluid

    def _with_pod(self, own: Identity, gpus: Sequence[GpuInfo]) -> Identity:
        if self._pods is None:
            return own
        holders = {holder for gpu in gpus for holder in self._pods.holders(gpu)}
        if len(holders) != 1:  # several containers share the GPUs: the owner is unknown
            return own
        (holder,) = holders
        return msgspec.structs.replace(
            own, k8s_namespace=holder.namespace, k8s_pod=holder.pod, k8s_container=holder.container
        )

    def _with_job(self, own: Identity, gpus: Sequence[GpuInfo]) -> Identity:
        if self._jobs is None:
            return own
        jobs = {job for gpu in gpus for job in self._jobs.jobs(gpu.device_number)}
        return msgspec.structs.replace(own, slurm_job=jobs.pop()) if len(jobs) == 1 else own
