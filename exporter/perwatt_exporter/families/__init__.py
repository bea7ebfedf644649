"""
All that the agent's page shows. A new family is a row in one of these files; a new file is a line here.
"""

from perwatt_agent.snapshot import Snapshot
from perwatt_exporter.families import agent, energy, gpu, health, host, latency, node, workload, xid
from perwatt_exporter.family import Family

GROUPS: dict[str, tuple[Family[Snapshot], ...]] = {
    "agent": agent.FAMILIES,
    "gpu": gpu.FAMILIES,
    "health": health.FAMILIES,
    "xid": xid.FAMILIES,
    "energy": energy.FAMILIES,
    "workload": workload.FAMILIES,
    "latency": latency.FAMILIES,
    "host": host.FAMILIES,
    "node": node.FAMILIES,
}
ALL: tuple[Family[Snapshot], ...] = tuple(family for group in GROUPS.values() for family in group)
