"""Labels and gauges of an agent's GPUs and workloads, beside its counters."""

import sys
from collections.abc import Mapping, Sequence

from msgspec import Struct

from perwatt_agent.net.prometheus_text import Series

Facts = Mapping[str, Sequence[tuple[Series, float]]]
"""Series with their values, by name."""

TENSOR = "tensor"
"""The only pipe of the SMs that is kept."""

_GPU_INFO = "perwatt_gpu_info"
_WORKLOAD_INFO = "perwatt_workload_info"
_WORKLOAD_UP = "perwatt_workload_up"
_START = "perwatt_workload_start_timestamp_seconds"
_RUNNING = "perwatt_requests_running"
_MISSING_GPUS = "perwatt_workload_missing_gpus"
_ATTRIBUTION = "perwatt_workload_attribution_info"
_UNSHARED = "exclusive"
_BY_SLICES = ("mig_activity", "mig_slice")
_GPU_GAUGES = {
    "perwatt_gpu_up": "up",
    "perwatt_gpu_power_watts": "power_watts",
    "perwatt_gpu_power_limit_watts": "power_limit_watts",
    "perwatt_gpu_utilization_ratio": "utilization_ratio",
    "perwatt_gpu_memory_used_bytes": "memory_used_bytes",
    "perwatt_gpu_memory_total_bytes": "memory_total_bytes",
    "perwatt_gpu_energy_calibration_ratio": "calibration_ratio",
    "perwatt_gpu_energy_divergence_ratio": "divergence_ratio",
    "perwatt_gpu_idle_power_watts": "idle_power_watts",
    "perwatt_gpu_sm_active_ratio": "sm_active_ratio",
    "perwatt_gpu_pipe_active_ratio": "tensor_active_ratio",
    "perwatt_gpu_pcie_generation_max": "pcie_generation_max",
    "perwatt_gpu_pcie_lanes_max": "pcie_lanes_max",
}
_WORKLOAD_LABELS = {
    "group": "group",
    "role": "role",
    "engine": "engine",
    "k8s_namespace": "namespace",
    "k8s_pod": "pod",
    "slurm_job": "slurm_job",
    "systemd_unit": "systemd_unit",
}
MAX_GROUP_GPUS = 1024
"""One engine may have GPUs on many nodes."""
MIN_CALIBRATION_RATIO, MAX_CALIBRATION_RATIO = 0.5, 1.5
"""As in the agent's configuration."""
_MAX_GAUGE = 1e18
_GAUGE_BOUNDS = {
    "perwatt_gpu_power_watts": (0.0, 1e5),
    "perwatt_gpu_utilization_ratio": (0.0, 1.0),
    "perwatt_gpu_energy_calibration_ratio": (MIN_CALIBRATION_RATIO, MAX_CALIBRATION_RATIO),
    "perwatt_gpu_energy_divergence_ratio": (-1.0, _MAX_GAUGE),
    "perwatt_gpu_idle_power_watts": (0.0, 1e5),
    "perwatt_gpu_sm_active_ratio": (0.0, 1.0),
    "perwatt_gpu_pipe_active_ratio": (0.0, 1.0),
}
"""A gauge outside of these is not known."""
GPU_FACTS = (_GPU_INFO, *_GPU_GAUGES)
WORKLOAD_FACTS = (_WORKLOAD_INFO, _WORKLOAD_UP, _START, _MISSING_GPUS, _ATTRIBUTION, _RUNNING)


MAX_FACT = 1e15
MAX_GPUS = 1024
MAX_WORKLOADS = 2048
_MAX_INDEX_DIGITS = 6


class BadValue(Exception):
    """A value on the page is not one that an agent can have."""


def checked(series: Series, value: float) -> float:
    """The value of a fact that every answer can show. Raises BadValue."""
    if not -MAX_FACT <= value <= MAX_FACT:
        raise BadValue(f"{series.name} is {value:g}")
    return value


def gpu_count(series: Series, value: float) -> int:
    """A number of GPUs. Raises BadValue."""
    if not 0.0 <= value <= MAX_GPUS:
        raise BadValue(f"{series.name} is {value:g}, not 0 to {MAX_GPUS}")
    return int(value)


class GpuFacts(Struct, frozen=True):
    """One GPU on the newest page of its agent; None if it is not on the page."""

    gpu: str
    index: int | None = None
    name: str = ""
    up: bool = False
    power_watts: float | None = None
    utilization_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    calibration_ratio: float | None = None
    divergence_ratio: float | None = None
    idle_power_watts: float | None = None
    sm_active_ratio: float | None = None
    tensor_active_ratio: float | None = None
    pcie_generation_max: float | None = None
    pcie_lanes_max: float | None = None
    power_limit_watts: float | None = None


class WorkloadFacts(Struct, frozen=True):
    """
    One workload on the newest page of its agent.

    `shared_gpus` are also used by other workloads. Some of them are `estimated_gpus`: its joules on these
    are an estimate (MIG). `missing_gpus` is how many GPUs its launch requested on its node and did not get.
    `requests_running` is None if the engine does not report it, `start_unix_seconds` if the start of the
    process that counts is not known.
    """

    workload: str
    group: str = ""
    role: str = ""
    engine: str = ""
    up: bool = False
    shared_gpus: frozenset[str] = frozenset()
    estimated_gpus: frozenset[str] = frozenset()
    missing_gpus: int = 0
    requests_running: float | None = None
    start_unix_seconds: float | None = None
    namespace: str = ""
    pod: str = ""
    slurm_job: str = ""
    systemd_unit: str = ""


def gpus_of(facts: Facts) -> dict[str, GpuFacts]:
    """Every GPU on a page, by its UUID."""
    known: dict[str, dict[str, float]] = {}
    for name, field in _GPU_GAUGES.items():
        low, high = _GAUGE_BOUNDS.get(name, (0.0, _MAX_GAUGE))
        for one, value in facts.get(name, ()):
            if low <= value <= high and one.label("pipe") in ("", TENSOR):
                known.setdefault(one.label("gpu"), {})[field] = value
    infos = {one.label("gpu"): one for one, _ in facts.get(_GPU_INFO, ())}
    return {gpu: _gpu(gpu, infos.get(gpu), known.get(gpu, {})) for gpu in infos.keys() | known.keys()}


def _gpu(gpu: str, info: Series | None, gauges: dict[str, float]) -> GpuFacts:
    index = info.label("index") if info else ""
    return GpuFacts(
        gpu=gpu,
        index=int(index) if index.isdecimal() and len(index) <= _MAX_INDEX_DIGITS else None,
        name=info.label("name") if info else "",
        up=gauges.get("up") == 1.0,
        power_watts=gauges.get("power_watts"),
        utilization_ratio=gauges.get("utilization_ratio"),
        memory_used_bytes=gauges.get("memory_used_bytes"),
        memory_total_bytes=gauges.get("memory_total_bytes"),
        calibration_ratio=gauges.get("calibration_ratio"),
        divergence_ratio=gauges.get("divergence_ratio"),
        idle_power_watts=gauges.get("idle_power_watts"),
        sm_active_ratio=gauges.get("sm_active_ratio"),
        tensor_active_ratio=gauges.get("tensor_active_ratio"),
        pcie_generation_max=gauges.get("pcie_generation_max"),
        pcie_lanes_max=gauges.get("pcie_lanes_max"),
        power_limit_watts=gauges.get("power_limit_watts"),
    )


def workloads_of(facts: Facts) -> dict[str, WorkloadFacts]:
    """Every workload on a page, by its name."""
    # A workload has counters from its first page on; its labels may come later.
    up = {one.label("workload"): value == 1.0 for one, value in facts.get(_WORKLOAD_UP, ())}
    infos = {one.label("workload"): one for one, _ in facts.get(_WORKLOAD_INFO, ())}
    missing = {one.label("workload"): gpu_count(one, value) for one, value in facts.get(_MISSING_GPUS, ())}
    running = {one.label("workload"): value for one, value in facts.get(_RUNNING, ()) if value >= 0.0}
    starts = {one.label("workload"): value for one, value in facts.get(_START, ())}
    shared: dict[str, set[str]] = {}
    estimated: dict[str, set[str]] = {}
    for one, _ in facts.get(_ATTRIBUTION, ()):
        if one.label("method") != _UNSHARED:
            shared.setdefault(one.label("workload"), set()).add(one.label("gpu"))
        if one.label("method") in _BY_SLICES:
            estimated.setdefault(one.label("workload"), set()).add(one.label("gpu"))
    return {
        name: WorkloadFacts(
            name,
            **_labels_of(infos.get(name)),
            up=up.get(name, False),
            shared_gpus=frozenset(shared.get(name, ())),
            estimated_gpus=frozenset(estimated.get(name, ())),
            missing_gpus=missing.get(name, 0),
            requests_running=running.get(name),
            start_unix_seconds=starts.get(name),
        )
        for name in up.keys() | infos.keys()
    }


def _labels_of(info: Series | None) -> dict[str, str]:
    """Engine and owner; none while the page does not have them."""
    labels = dict(info.labels) if info else {}
    return {field: sys.intern(labels[label]) for label, field in _WORKLOAD_LABELS.items() if label in labels}
