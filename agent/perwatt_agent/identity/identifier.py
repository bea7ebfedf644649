"""Find out whom a process and its GPUs work for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.identity.cgroup import identity_in
from perwatt_agent.identity.identity import NOBODY, Identity
from perwatt_agent.identity.pod_resources import Container
from perwatt_agent.identity.slurm import SlurmJobMap

_MOST_BYTES = 64 * 1024


class PodHolders(Protocol):
    """Which containers hold a GPU, or MIG instances of it; `pending` while the first answer may yet come."""

    @property
    def pending(self) -> bool: ...

    def holders(self, gpu: GpuInfo, migs: Sequence[str] = ()) -> tuple[Container, ...]: ...


class Identifier:
    """
    Look up processes under *proc*, and GPUs in the job map and among the kubelet's pods where there are any.

    A failed look-up leaves empty what it was to find, and never raises.
    """

    def __init__(
        self, proc: Path = Path("/proc"), *, jobs: SlurmJobMap | None = None, pods: PodHolders | None = None
    ) -> None:
        self._proc = proc
        self._jobs = jobs
        self._pods = pods

    @property
    def pending(self) -> bool:
        """Whether an answer about GPUs may yet come; wait with a name until it did."""
        return self._pods is not None and self._pods.pending

    @property
    def knows_gpus(self) -> bool:
        """Whether GPUs alone may tell anything."""
        return self._jobs is not None or self._pods is not None

    def identify(self, pid: int | None, gpus: Sequence[GpuInfo] = ()) -> Identity:
        """
        Return whom the process works for, by its cgroup and by the GPUs that it holds.

        What its cgroup says goes over what is said of its GPUs; with no *pid* the GPUs alone tell.
        """
        own = NOBODY if pid is None else self._by_cgroup(pid)
        if own.slurm_job:
            return own
        # What holds a pod's GPU and lives elsewhere is not that pod's, and a service is nobody's job.
        if own.pod_uid or own == NOBODY:
            own = self._with_pod(own, gpus)
        if not (own.k8s_pod or own.pod_uid or own.systemd_unit):
            own = self._with_job(own, gpus)
        return own

    def _by_cgroup(self, pid: int) -> Identity:
        try:
            with (self._proc / str(pid) / "cgroup").open("rb") as file:
                content = file.read(_MOST_BYTES)
        except OSError:  # gone, or not ours to look at
            return NOBODY
        return identity_in(content.decode("utf-8", "replace"))

    def _with_pod(self, own: Identity, gpus: Sequence[GpuInfo]) -> Identity:
        if self._pods is None:
            return own
        holders = {holder for gpu in gpus for holder in self._pods.holders(gpu)}
        if len(holders) != 1:  # several share the GPUs, and nothing tells which of them this is
            return own
        (holder,) = holders
        return msgspec.structs.replace(
            own, k8s_namespace=holder.namespace, k8s_pod=holder.pod, k8s_container=holder.container
        )

    def _with_job(self, own: Identity, gpus: Sequence[GpuInfo]) -> Identity:
        if self._jobs is None:
            return own
        jobs = {job for gpu in gpus for job in self._jobs.jobs(gpu.index)}
        return msgspec.structs.replace(own, slurm_job=jobs.pop()) if len(jobs) == 1 else own
