"""
Snapshot of one node, which the agent publishes: frozen structs in base units.

Data are apart from health: a value that could not be read is None, and the `state` of its owner says why.
A snapshot is never modified after it is built, which makes reads without a lock safe.
"""

from msgspec import Struct

from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterSnapshot, NodeMeterSnapshot, NodeModel
from perwatt_agent.facts.workload import WorkloadSnapshot


class BackendStatus(Struct, frozen=True):
    """State of the GPU backend: whether it answers, and the `reason` if it does not."""

    name: str
    up: bool
    driver_version: str = ""
    nvml_version: str = ""
    reason: str = ""


class CollectorHealth(Struct, frozen=True):
    """Health of one collector: explicit booleans and counts, never inferred from data."""

    name: str
    success: bool
    last_success_unix_seconds: float | None = None
    duration_seconds: float | None = None
    failures: tuple[tuple[str, int], ...] = ()


class AgentInfo(Struct, frozen=True):
    """Which agent this is: its random id, and when it started."""

    agent: str
    start_unix_seconds: float


class Snapshot(Struct, frozen=True):
    """
    All that the agent knows at one instant. `unidentified_gpus` are lost GPUs without a UUID. `agent` is None
    if the agent has no id.

    `node_meters` has at most one, the meter that stands for the whole node now; `meters` has all of them.
    `events` counts events since the agent started, by kind.
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
    agent: AgentInfo | None = None
