"""Who it was for: systemd unit, Slurm job, Kubernetes pod and container of a process and its GPUs."""

from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import Identity, described, workload_name

__all__ = ["Identifier", "Identity", "described", "workload_name"]
