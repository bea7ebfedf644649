"""Agents as the aggregator sees them: snapshots of a node whose counters a test moves by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from perwatt_agent.facts.engine_counts import EngineCounts, Histogram, WasteCause
from perwatt_agent.facts.gpu import GpuEnergy, GpuInfo, GpuSnapshot
from perwatt_agent.facts.gpu_reading import EnergySource, GpuReading
from perwatt_agent.facts.host_meter import MeterRole, MeterScope, MeterSnapshot, NodeMeterSnapshot
from perwatt_agent.facts.snapshot import BackendStatus, CollectorHealth, Snapshot
from perwatt_agent.facts.workload import Method, WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot


@dataclass
class Gpu:
    """A GPU's counters, in joules and seconds."""

    uuid: str
    joules: float = 5_000.0
    covered_seconds: float = 100.0
    unallocated_joules: float = 0.0
    unknown_joules: float = 0.0
    source: EnergySource = "counter"
    state: Literal["ok", "lost", "hung", "error"] = "ok"
    calibration_ratio: float | None = None
    idle_power_watts: float | None = None
    has_sensor: bool = True

    def snapshot(self, index: int, monotonic: float) -> GpuSnapshot:
        info = GpuInfo(self.uuid, index, "NVIDIA H200")
        if self.state != "ok":
            return GpuSnapshot(info, self.state)
        if not self.has_sensor:
            return GpuSnapshot(info, "ok", GpuReading(monotonic, utilization_ratio=0.0))
        return GpuSnapshot(
            info,
            "ok",
            GpuReading(monotonic, self.joules, self.source, power_watts=300.0, utilization_ratio=0.5),
            None,
            GpuEnergy(self.source, self.joules, self.joules, self.covered_seconds, None, None),
            self.calibration_ratio,
            self.unallocated_joules,
            self.unknown_joules,
            self.idle_power_watts,
        )


@dataclass
class Workload:
    """A workload's counters; `joules` by GPU are (active, idle, loading)."""

    name: str
    model: str = "llama"
    group: str = ""
    engine: str = "vllm"
    up: bool = True
    output: float | None = 1_000.0
    computed: float | None = 500.0
    cached: float | None = 50.0
    effective: float | None = 900.0
    ok: float | None = 10.0
    work: dict[str, float] = field(default_factory=dict)
    joules: dict[str, list[float]] = field(default_factory=dict)
    covered_seconds: float = 50.0
    method: Method = "exclusive"
    missing_gpus: int | None = None
    running: float | None = None
    wasted: dict[WasteCause, float] = field(default_factory=dict)
    first_token: Histogram | None = None
    output_token: Histogram | None = None
    flops: float | None = None

    def snapshot(self) -> WorkloadSnapshot:
        return WorkloadSnapshot(
            WorkloadInfo(self.name, group=self.group, engine=self.engine),
            self.up,
            counts=EngineCounts(
                self.model,
                self.output,
                self.computed,
                self.cached,
                self.effective,
                self.ok,
                None if self.ok is None else 0.0,
                None if self.ok is None else 0.0,
                self.running,
                work=dict(self.work),
                wasted_tokens=dict(self.wasted),
                time_to_first_token=self.first_token,
                time_per_output_token=self.output_token,
                flops_per_gpu=self.flops,
            ),
            energy=tuple(
                WorkloadGpuEnergy(gpu, active, idle, loading, self.method)
                for gpu, (active, idle, loading) in self.joules.items()
            ),
            covered_seconds=self.covered_seconds,
            missing_gpus=self.missing_gpus,
        )

    def take(self, gpu: str, *, active: float = 0.0, idle: float = 0.0, loading: float = 0.0) -> None:
        held = self.joules.setdefault(gpu, [0.0, 0.0, 0.0])
        for place, joules in enumerate((active, idle, loading)):
            held[place] += joules


@dataclass
class Machine:
    """One node; `run` moves it on at steady power and a steady rate of tokens."""

    gpus: list[Gpu]
    workloads: list[Workload] = field(default_factory=list)
    meter: NodeMeterSnapshot | None = None
    meter_period_seconds: float | None = None
    host_joules: dict[MeterRole, float] = field(default_factory=dict)
    backend: str = "nvml"
    backend_up: bool = True
    unidentified_gpus: int = 0
    engine_failures: dict[str, int] = field(default_factory=dict)
    unix: float = 1_800_000_000.0
    monotonic: float = 1_000.0

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.unix,
            self.monotonic,
            BackendStatus(self.backend, self.backend_up, "570.1", "12.570"),
            tuple(gpu.snapshot(index, self.monotonic) for index, gpu in enumerate(self.gpus)),
            workloads=tuple(workload.snapshot() for workload in self.workloads),
            collectors=(CollectorHealth("engine", True, None, None, tuple(self.engine_failures.items())),),
            node_meters=() if self.meter is None else (self.meter,),
            unidentified_gpus=self.unidentified_gpus,
            meters=tuple(self._meters()),
        )

    def _meters(self) -> Iterator[MeterSnapshot]:
        meter, period = self.meter, self.meter_period_seconds
        if meter is not None and period is not None:
            yield MeterSnapshot(
                meter.source, meter.source, "node", "", "node", period, True, None, meter.covered_seconds
            )
        for role, joules in self.host_joules.items():
            scope: MeterScope = "package" if role == "package" else "dram"
            yield MeterSnapshot(f"rapl/{scope}/0", "rapl", scope, "0", role, 1.0, True, joules, 1.0)

    def take(self, role: MeterRole, joules: float) -> None:
        """Count joules of the host's processors or of their memory."""
        self.host_joules[role] = self.host_joules.get(role, 0.0) + joules

    def run(
        self,
        seconds: float,
        *,
        watts: float = 300.0,
        tokens_per_second: float = 100.0,
        node_watts: float = 0.0,
    ) -> None:
        """Every GPU takes *watts*; a workload serves on each GPU that it holds, the rest is unallocated."""
        self.unix += seconds
        self.monotonic += seconds
        held = {gpu for workload in self.workloads for gpu in workload.joules}
        for gpu in self.gpus:
            gpu.joules += watts * seconds
            gpu.covered_seconds += seconds
            if gpu.uuid not in held:
                gpu.unallocated_joules += watts * seconds
        for workload in self.workloads:
            self._serve(workload, seconds, watts, tokens_per_second)
        if node_watts:
            before = self.meter or NodeMeterSnapshot("ipmi", 0.0, 0.0)
            self.meter = NodeMeterSnapshot(
                before.source, before.energy_joules + node_watts * seconds, before.covered_seconds + seconds
            )

    def _serve(self, workload: Workload, seconds: float, watts: float, tokens_per_second: float) -> None:
        unmeasured = {gpu.uuid for gpu in self.gpus if not gpu.has_sensor}
        for gpu in workload.joules:
            if gpu not in unmeasured:
                workload.take(gpu, active=watts * seconds)
        workload.covered_seconds += seconds
        for name, per_token in (
            ("output", 1.0),
            ("computed", 2.0),
            ("cached", 0.5),
            ("effective", 0.9),
            ("ok", 0.01),
            ("flops", 1e11),
        ):
            amount = getattr(workload, name)
            if amount is not None:
                setattr(workload, name, amount + per_token * tokens_per_second * seconds)
        for unit in workload.work:
            workload.work[unit] += tokens_per_second * seconds


def job(gpu: str | None, unit: str = "samples", name: str = "train", model: str = "") -> Workload:
    """A workload without an engine, that counts in a unit of its own."""
    tells = Workload(
        name, model, engine="work", output=None, computed=None, cached=None, effective=None, ok=None
    )
    tells.work[unit] = 0.0
    if gpu is not None:
        tells.take(gpu)
    return tells


def serving_machine(gpus: int = 1, prefix: str = "GPU", workloads: int = 1) -> Machine:
    """A machine whose first GPUs are each held by a workload of its own."""
    machine = Machine([Gpu(f"{prefix}-{index}") for index in range(gpus)])
    for index in range(workloads):
        workload = Workload(f"chat-{index}")
        workload.take(f"{prefix}-{index}", active=100.0)
        machine.workloads.append(workload)
    return machine
