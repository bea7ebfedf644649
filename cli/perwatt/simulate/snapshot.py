"""Snapshot of a simulated node, made of a layout and its numbers: what a real agent would publish."""

from collections.abc import Iterator, Sequence
from typing import Any

from perwatt.simulate.agent_events import FALLEN_OFF
from perwatt.simulate.catalog import BOARD
from perwatt.simulate.depth import DEEP_SLOW, deep_reading
from perwatt.simulate.latency import LATENCIES, Latency
from perwatt.simulate.layout import GpuOccupancy, Layout, WorkloadLayout
from perwatt.simulate.node import METER_PERIOD_SECONDS, NodeIdentity
from perwatt_agent.facts.engine_counts import EngineCounts, Histogram
from perwatt_agent.facts.event import EVENT_KINDS
from perwatt_agent.facts.gpu import GpuEnergy, GpuInfo, GpuSnapshot
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.health import GpuHealth, XidCount
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterRole, MeterScope, MeterSnapshot, NodeMeterSnapshot
from perwatt_agent.facts.snapshot import AgentInfo, BackendStatus, CollectorHealth, Snapshot
from perwatt_agent.facts.workload import Method, WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot

SIMULATED = "simulated"
COLLECTORS = ("gpu", "gpu_slow", "engines", "node_meter")
_PARTS: tuple[tuple[MeterScope, MeterRole, int], ...] = (
    ("package", "package", 0),
    ("package", "package", 1),
    ("dram", "dram", 0),
    ("dram", "dram", 1),
)
_HOST = HostReading(0.125, 180 * 1024**3, 2048 * 1024**3)
_SLOW = GpuSlowReading(
    0.0,
    power_limit_watts=BOARD.limit_watts,
    power_limit_default_watts=BOARD.limit_watts,
    power_limit_min_watts=BOARD.limit_min_watts,
    power_limit_max_watts=BOARD.limit_watts,
    clock_memory_hertz=BOARD.clock_memory_hertz,
)
_MEMORY_SHARES: dict[GpuOccupancy, float] = {
    "unallocated": 0.0,
    "loading": 0.4,
    "serving": 0.9,
    "paused": 0.9,
}


def snapshot_of(identity: NodeIdentity, layout: Layout, numbers: Sequence[float]) -> Snapshot:
    """The snapshot of which `Node.page` gave the layout and the numbers."""
    taken = iter(numbers)
    unix, monotonic = next(taken), next(taken)
    gpus = tuple(_gpu(identity, index, state, taken) for index, state in enumerate(layout.gpus))
    workloads = tuple(_workload(identity, one, taken) for one in layout.workloads)
    meters = tuple(_part(scope, role, zone, next(taken), monotonic) for scope, role, zone in _PARTS)
    wall = NodeMeterSnapshot(SIMULATED, next(taken), next(taken), next(taken)) if identity.has_meter else None
    if wall is not None:
        meters += (
            MeterSnapshot(
                SIMULATED,
                SIMULATED,
                "node",
                "",
                "node",
                METER_PERIOD_SECONDS,
                True,
                None,
                wall.covered_seconds,
            ),
        )
    # A template renders marks here, which are no whole numbers of events.
    events: tuple[tuple[str, Any], ...] = tuple((kind, next(taken)) for kind in EVENT_KINDS)
    return Snapshot(
        unix,
        monotonic,
        BackendStatus(SIMULATED, up=True),
        gpus,
        tuple(CollectorHealth(name, True, unix, 0.00125) for name in COLLECTORS),
        workloads,
        () if wall is None else (wall,),
        meters=meters,
        host=_HOST,
        events=events,
        agent=AgentInfo(identity.agent, layout.agent_start),
    )


def uuid_of(identity: NodeIdentity, gpu: int) -> str:
    """The UUID of a GPU, which shows that it is simulated."""
    return f"SIM-{identity.name}-{gpu}"


def _gpu(identity: NodeIdentity, index: int, occupancy: GpuOccupancy, taken: Iterator[float]) -> GpuSnapshot:
    info = GpuInfo(uuid_of(identity, index), index, BOARD.name, f"00000000:{0x18 + index:02X}:00.0", "hopper")
    if occupancy == "lost":
        xids = (XidCount(str(FALLEN_OFF), 1, next(taken)),)
        return GpuSnapshot(info, "lost", health=GpuHealth("failed", ("lost", "xid_fatal")), xids=xids)
    if occupancy == "lost_before":
        return GpuSnapshot(info, "lost", health=GpuHealth("failed", ("lost",)))
    used = int((BOARD.memory_bytes - BOARD.memory_reserved_bytes) * _MEMORY_SHARES.get(occupancy, 0.0))
    clock = BOARD.clock_idle_hertz if occupancy == "unallocated" else BOARD.clock_busy_hertz
    watts, utilization, core, memory = (next(taken) for _ in range(4))
    joules, covered, busy, unallocated = (next(taken) for _ in range(4))
    reading = GpuReading(
        0.0,
        joules,
        "simulated",
        power_watts=watts,
        utilization_ratio=utilization,
        memory_used_bytes=used,
        memory_reserved_bytes=BOARD.memory_reserved_bytes,
        memory_total_bytes=BOARD.memory_bytes,
        temperature_core_celsius=core,
        temperature_memory_celsius=memory,
        clock_graphics_hertz=clock,
        clock_sm_hertz=clock,
    )
    slow = _SLOW
    if identity.detail == "full":
        reading, slow = deep_reading(reading, taken), DEEP_SLOW
    energy = GpuEnergy("simulated", joules, joules, covered, busy, None)
    return GpuSnapshot(info, "ok", reading, slow, energy, None, unallocated, 0.0, health=GpuHealth("ok"))


def _workload(identity: NodeIdentity, layout: WorkloadLayout, taken: Iterator[float]) -> WorkloadSnapshot:
    life = layout.life
    counts = _counts(life.model.name, taken) if layout.is_counted else None
    method: Method | None = "exclusive" if layout.holds else None
    energy = []
    for gpu in layout.gpus:
        active, idle, loading = next(taken), next(taken), next(taken)
        energy.append(WorkloadGpuEnergy(uuid_of(identity, gpu), active, idle, loading, method))
    info = WorkloadInfo(
        life.name,
        engine=life.model.engine,
        k8s_namespace=life.namespace,
        k8s_pod=life.pod,
        k8s_container=life.model.engine,
    )
    missing = 0 if layout.holds else None
    return WorkloadSnapshot(info, layout.is_up, True, counts, tuple(energy), next(taken), missing)


def _counts(model: str, taken: Iterator[float]) -> EngineCounts:
    output, computed, cached, effective, well, aborted, running, cache, wasted = (
        next(taken) for _ in range(9)
    )
    first, each, inter = (_histogram(latency, taken) for latency in LATENCIES)
    return EngineCounts(
        model,
        output,
        computed,
        cached,
        effective,
        well,
        aborted,
        0.0,
        running,
        0.0,
        kv_cache_usage_ratio=cache,
        preemptions=0.0,
        wasted_tokens={"aborted": wasted, "error": 0.0},
        time_to_first_token=first,
        time_per_output_token=each,
        inter_token_latency=inter,
    )


def _histogram(latency: Latency, taken: Iterator[float]) -> Histogram:
    at_most = tuple(next(taken) for _ in latency.bounds)
    return Histogram(latency.bounds, at_most, next(taken), next(taken))


def _part(scope: MeterScope, role: MeterRole, zone: int, joules: float, monotonic: float) -> MeterSnapshot:
    name = f"{SIMULATED}/{scope}/{zone}"
    return MeterSnapshot(name, SIMULATED, scope, str(zone), role, 1.0, True, joules, monotonic)
