"""Sample snapshots, invented for tests, and the oracle that renders them in prometheus_client's way."""

from collections.abc import Iterable, Iterator
from typing import Any

import prometheus_client.openmetrics.exposition as openmetrics
from prometheus_client import generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from perwatt_agent.facts.engine_counts import EngineCounts, Histogram
from perwatt_agent.facts.gpu import GpuEnergy, GpuInfo, GpuSnapshot, GpuState
from perwatt_agent.facts.gpu_process import GpuProcess
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.health import GpuHealth, XidCount
from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterSnapshot, NodeMeterSnapshot, NodeModel
from perwatt_agent.facts.snapshot import AgentInfo, BackendStatus, CollectorHealth, Snapshot
from perwatt_agent.facts.workload import Method, WorkloadGpuEnergy, WorkloadInfo, WorkloadSnapshot
from perwatt_exporter.http.negotiate import Format
from perwatt_exporter.page.family import Collected, Family, Sample
from perwatt_exporter.page.render import Renderer, page

UNIX_SECONDS = 1_800_000_000.25
MONOTONIC_SECONDS = 86_400.5
NVML = BackendStatus("nvml", up=True, driver_version="570.86.15", nvml_version="12.570.86.15")
MIB = 1024 * 1024
METERS = (
    MeterSnapshot("redfish", "redfish", "node", "", "node", 10.0, True, 45_700_000.5, 3_610.0, 6_153.5),
    MeterSnapshot("ipmi", "ipmi", "node", "", "further", 5.0, True, 45_600_000.0, 3_590.0, 6_140.0),
    MeterSnapshot(
        "rapl/package/0", "rapl", "package", "0", "package", 1.0, True, 1_234_567.5, 3_599.0, 342.75
    ),
    MeterSnapshot(
        "rapl/package/1", "rapl", "package", "1", "package", 1.0, True, 1_200_000.25, 3_599.0, 331.5
    ),
    MeterSnapshot("rapl/dram/0", "rapl", "dram", "0", "dram", 1.0, True, 98_765.5, 3_599.0, 27.5),
    MeterSnapshot(
        "rapl/psys", "rapl", "psys", "", "further", 1.0, False, None, 0.0, rejections=(("frozen", 3_589),)
    ),
)


def gpu_info(index: int) -> GpuInfo:
    return GpuInfo(
        uuid=f"GPU-00000000-0000-4000-8000-{index:012d}",
        index=index,
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id=f"00000000:{0x18 + index:02X}:00.0",
        architecture="hopper",
        serial=f"16500230{index:05d}",
        vbios_version="96.00.A5.00.01",
    )


def reading(index: int) -> GpuReading:
    return GpuReading(
        monotonic_seconds=MONOTONIC_SECONDS,
        energy_joules=123_456_789.012 + index,
        power_watts=431.25 + index,
        utilization_ratio=0.97,
        memory_used_bytes=(61_440 + index) * MIB,
        memory_reserved_bytes=551 * MIB,
        memory_total_bytes=81_559 * MIB,
        temperature_core_celsius=54 + index,
        temperature_memory_celsius=63 + index,
        clock_graphics_hertz=1_980e6,
        clock_sm_hertz=1_980e6,
        clock_memory_hertz=2_619e6,
    )


SLOW = GpuSlowReading(
    monotonic_seconds=MONOTONIC_SECONDS,
    power_limit_watts=700,
    power_limit_default_watts=700,
    power_limit_min_watts=200,
    power_limit_max_watts=700,
    processes=(GpuProcess(pid=4711),),
)


FELL_OFF = GpuHealth("failed", ("lost", "xid_fatal"))
EVENTS = (("xid", 3), ("gpu_state", 1), ("health", 2), ("driver", 0))


def energy(index: int) -> GpuEnergy:
    return GpuEnergy(
        source="counter",
        joules=123_456_789.012 + index,
        accepted_joules=345_678.5,
        covered_seconds=3_600.5,
        busy_seconds=3_492.485,
        divergence_ratio=-0.0023,
    )


def healthy_gpu(index: int) -> GpuSnapshot:
    return GpuSnapshot(
        info=gpu_info(index),
        state="ok",
        reading=reading(index),
        slow=SLOW,
        energy=energy(index),
        calibration_ratio=1.012 if index == 0 else None,
        unallocated_joules=1_200.5,
        unknown_joules=0.0,
        idle_power_watts=71.25 if index == 0 else None,
        health=GpuHealth("ok"),
    )


def sick_gpu(index: int, state: GpuState) -> GpuSnapshot:
    health = {"lost": FELL_OFF, "hung": GpuHealth("failed", ("hung",))}.get(state, GpuHealth("ok"))
    xids = (XidCount("79", 2, UNIX_SECONDS - 40), XidCount("unknown", 1, UNIX_SECONDS - 41.5))
    return GpuSnapshot(gpu_info(index), state, health=health, xids=xids if state == "lost" else ())


def collector(name: str, **failures: int) -> CollectorHealth:
    return CollectorHealth(
        name,
        success=not failures,
        last_success_unix_seconds=UNIX_SECONDS - (40 if failures else 0),
        duration_seconds=0.00125,
        failures=tuple(failures.items()),
    )


def workload(name: str, gpus: Iterable[GpuSnapshot], method: Method | None = "exclusive") -> WorkloadSnapshot:
    return WorkloadSnapshot(
        info=WorkloadInfo(workload=name, engine="vllm", systemd_unit=f"{name}.service"),
        up=True,
        counts=EngineCounts(
            model="meta-llama/Llama-3.1-70B-Instruct",
            output_tokens=4_585,
            prompt_computed_tokens=12_044,
            prompt_cached_tokens=2_048,
            effective_output_tokens=4_503,
            requests_ok=64,
            requests_aborted=6,
            requests_running=3,
            requests_waiting=1,
            process_start_unix_seconds=UNIX_SECONDS - 7_200,
            kv_cache_usage_ratio=0.375,
            preemptions=2,
            wasted_tokens={"aborted": 82, "error": 0, "recomputed": 0, "draft_rejected": 12.5},
            time_to_first_token=Histogram((0.001, 0.25, 1.0), (0, 66, 70), 70, 5.593264818191528),
            time_per_output_token=Histogram((0.01, 0.025), (12, 64), 64, 1.5491112712955315),
            inter_token_latency=Histogram((0.01, 2.5), (1_200, 1_000_000), 1_000_001, 104.76205385100059),
            flops_per_gpu=2.5e18,
        ),
        energy=tuple(WorkloadGpuEnergy(gpu.info.uuid, 30_000.5, 4_000.25, 900.0, method) for gpu in gpus),
        covered_seconds=3_598.0,
        missing_gpus=0,
    )


def node(gpus: tuple[GpuSnapshot, ...], **facts: Any) -> Snapshot:
    """A snapshot of a node with these GPUs; `facts` replace what a healthy node would show."""
    healthy: dict[str, Any] = {"backend": NVML, "collectors": (collector("gpu"), collector("gpu_slow"))}
    return Snapshot(UNIX_SECONDS, MONOTONIC_SECONDS, gpus=gpus, **(healthy | facts))


def healthy_8_gpus() -> Snapshot:
    gpus = tuple(map(healthy_gpu, range(8)))
    wall = (NodeMeterSnapshot("redfish", 45_678_901.5, 3_600.0, 6_153.5),)
    return node(
        gpus,
        workloads=(workload("chat", gpus[:4]), workload("code", gpus[4:])),
        node_meters=wall,
        meters=METERS,
        host=HostReading(0.125, 96 * 1024 * MIB, 2048 * 1024 * MIB),
    )


def one_lost() -> Snapshot:
    collectors = (collector("gpu", lost=3), collector("gpu_slow"))
    gpus = (healthy_gpu(0), sick_gpu(1, "lost"))
    return node(gpus, collectors=collectors, unidentified_gpus=1, events=EVENTS)


def one_hung() -> Snapshot:
    collectors = (collector("gpu", timeout=2, error=1), collector("gpu_slow", timeout=1))
    return node((sick_gpu(0, "hung"), healthy_gpu(1), sick_gpu(2, "error")), collectors=collectors)


def no_driver() -> Snapshot:
    backend = BackendStatus("nvml", up=False, reason="library_not_found")
    health = CollectorHealth("backend", success=False, failures=(("library_not_found", 7),))
    return node((), backend=backend, collectors=(health,))


def zero_gpus() -> Snapshot:
    return node(())


def simulated_with_workload() -> Snapshot:
    info = GpuInfo(uuid="SIM-node-0", index=0, name="Simulated H100")
    account = GpuEnergy("simulated", 5_000.5, 5_000.5, 60.0, 31.5, None)
    gpu = GpuSnapshot(info, "ok", reading(0), SLOW, account, unallocated_joules=0.0, unknown_joules=0.0)
    starting = WorkloadSnapshot(
        WorkloadInfo("embed", group="pair", role="prefill", engine="vllm"),
        up=False,
        energy=(WorkloadGpuEnergy("SIM-node-0", 0.0, 0.0, 12.5),),
    )
    job = WorkloadSnapshot(
        WorkloadInfo("train", role="trainer", engine="work"),
        up=True,
        counts=EngineCounts("", work={"samples": 81_920, "steps": 640}),
    )
    return node(
        (gpu,),
        backend=BackendStatus("simulated", up=True),
        workloads=(workload("chat", (gpu,)), starting, job),
    )


def pre_volta_integrated() -> Snapshot:
    """A card with few facts and an odd name, in a node that is modelled."""
    info = GpuInfo(uuid="GPU-0badcafe-0000-4000-8000-000000000000", index=0, name='Tesla "P40" \\ 24 GB\n')
    facts = GpuReading(MONOTONIC_SECONDS, power_watts=249.9, power_is_mean=False, temperature_core_celsius=81)
    account = GpuEnergy("integrated", 1e15 / 3, 1e15 / 3, 3_600.0, None, None)
    modelled = MeterSnapshot("model", "model", "node", "", "node", 1.0, True, 2_000_000.5, 3_600.0, 612.25)
    return node(
        (GpuSnapshot(info, "ok", facts, None, account),),
        node_meters=(NodeMeterSnapshot("model", 2_000_000.5, 3_600.0, 612.25),),
        meters=(modelled,),
        node_model=NodeModel(rest_watts=180.0, psu_efficiency=0.94),
        agent=AgentInfo("0123456789abcdef", 1_800_000_000.25),
    )


def collect(families: Iterable[Family[Any]], snapshot: object) -> list[Collected[Any]]:
    return [(family, list(family.read(snapshot))) for family in families]


def rendered(collected: Iterable[Collected[Any]], form: Format) -> bytes:
    return page(Renderer().collected(collected, form), form)


def points(family: Family[Any], samples: Iterable[Sample]) -> list[tuple[str, dict[str, str], float]]:
    """Every series of a family by name and labels: a histogram is several."""
    found = []
    for values, value in samples:
        labels = dict(zip(family.labels, values, strict=True))
        if isinstance(value, Histogram):
            found += [(f"{family.name}_bucket", labels | {"le": le}, count) for le, count in _buckets(value)]
            found += [
                (f"{family.name}_count", labels, value.count),
                (f"{family.name}_sum", labels, value.sum),
            ]
        else:
            found.append((family.name, labels, float(value)))
    return found


class _Oracle(Collector):
    def __init__(self, collected: Iterable[Collected[Any]]) -> None:
        self._collected = list(collected)

    def collect(self) -> Iterator[Metric]:
        for family, samples in self._collected:
            if family.kind == "histogram":
                metric: Metric = HistogramMetricFamily(family.stem, family.help, labels=family.labels)
            else:
                metric = Metric(family.stem, family.help, family.kind)
            for values, value in samples:
                if isinstance(metric, HistogramMetricFamily) and isinstance(value, Histogram):
                    metric.add_metric(values, _buckets(value), value.sum)
                elif not isinstance(value, Histogram):
                    metric.add_sample(family.name, dict(zip(family.labels, values, strict=True)), value)
            if metric.samples:
                yield metric


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return list(zip(bounds, (*histogram.at_most, histogram.count), strict=True))


def oracle(collected: Iterable[Collected[Any]], form: Format) -> bytes:
    """What prometheus_client writes for the same families."""
    generate = openmetrics.generate_latest if form == "openmetrics" else generate_latest
    return generate(_Oracle(collected))
