"""
Families of the agent's page. A new family is a row in one of these files; a new file is a line here.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families import (
    agent,
    energy,
    gpu,
    gpu_ecc,
    gpu_gpm,
    gpu_links,
    gpu_memory,
    gpu_modes,
    gpu_processes,
    gpu_thermal,
    gpu_throttle,
    health,
    host,
    latency,
    mig,
    node,
    unchanged,
    workload,
    xid,
)
from perwatt_exporter.page.family import Basis, Family


def over(basis: Basis[Snapshot], families: Iterable[Family[Snapshot]]) -> tuple[Family[Snapshot], ...]:
    """A whole group that is made of the same facts."""
    return tuple(replace(family, basis=basis) for family in families)


GROUPS: dict[str, tuple[Family[Snapshot], ...]] = {
    "agent": agent.FAMILIES,
    "gpu": gpu.FAMILIES,
    "gpu_memory": gpu_memory.FAMILIES,
    "gpu_throttle": gpu_throttle.FAMILIES,
    "gpu_thermal": gpu_thermal.FAMILIES,
    "gpu_links": gpu_links.FAMILIES,
    "gpu_ecc": gpu_ecc.FAMILIES,
    "gpu_gpm": gpu_gpm.FAMILIES,
    "gpu_modes": gpu_modes.FAMILIES,
    "gpu_processes": gpu_processes.FAMILIES,
    "mig": mig.FAMILIES,
    "health": health.FAMILIES,
    "xid": over(unchanged.xids, xid.FAMILIES),
    "energy": energy.FAMILIES,
    "workload": over(unchanged.workloads, workload.FAMILIES),
    "latency": over(unchanged.workloads, latency.FAMILIES),
    "host": over(unchanged.meters, host.FAMILIES),
    "node": over(unchanged.meters, node.FAMILIES),
}
ALL: tuple[Family[Snapshot], ...] = tuple(family for group in GROUPS.values() for family in group)
