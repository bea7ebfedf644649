"""
The facts that one agent publishes: frozen structs on the ground floor, in base units.

Data stand apart from health: what could not be read is None and its owner's `state` says why.
Nothing here is ever changed after it was built, which is what makes lock-free reads safe.
"""

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterSnapshot, NodeMeterSnapshot, NodeModel
from perwatt_agent.facts.workload import WorkloadSnapshot


class BackendStatus(Struct, frozen=True):
    """The GPU backend: what it is and whether it answers; `reason` says why it does not."""

    name: str
    up: bool
    driver_version: str = ""
    nvml_version: str = ""
    reason: str = ""


class CollectorHealth(Struct, frozen=True):
    """How one collector fares: explicit booleans and counts, never inferred from data."""

    name: str
    success: bool
    last_success_unix_seconds: float | None = None
    duration_seconds: float | None = None
    failures: tuple[tuple[str, int], ...] = ()


class Snapshot(Struct, frozen=True):
    """
    All that the agent knows at one instant. `unidentified_gpus` are lost GPUs without a UUID.

    `node_meters` has at most one: what speaks for the whole node now; `meters` are all of them. `events`
    counts what happened since the agent started, by kind.
    """

    unix_seconds: float
    monotonic_seconds: float
    backend: BackendStatus
    gpus: tuple[GpuSnapshot, ...] = ()
    collectors: tuple[CollectorHealth, ...] = ()
    workloads: tuple[WorkloadSnapshot, ...] = ()
    node_meters: tuple[NodeMeterSnapshot, ...] = ()
    unidentified_gpus: int = 0
    meters: tuple[MeterSnapshot, ...] = ()
    host: HostReading | None = None
    node_model: NodeModel | None = None
    events: tuple[tuple[str, int], ...] = ()
