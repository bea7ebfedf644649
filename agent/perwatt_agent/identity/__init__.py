"""Who it was for: the systemd unit, Slurm job, Kubernetes pod and container of a process and its GPUs."""

from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.identity import Identity, described, workload_name
from perwatt_agent.identity.names import Names

__all__ = ["Identifier", "Identity", "Names", "described", "workload_name"]
