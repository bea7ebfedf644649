"""
The facts that one agent publishes: frozen structs on the ground floor, in base units.

Data stand apart from health: what could not be read is None and its owner's `state` says why.
Nothing here is ever changed after it was built, which is what makes lock-free reads safe.
"""

from typing import Literal

from msgspec import Struct

from perwatt_agent.gpufacts import (
    ComputeMode,
    EccCount,
    FabricHealth,
    FabricState,
    GpmReading,
    MigReading,
    ProcessUse,
    RecoveryAction,
    ThrottleReason,
    VirtualizationMode,
)
from perwatt_agent.gpuhealth import GpuHealth, XidCount
from perwatt_agent.hostfacts import HostReading, MeterSnapshot, NodeModel

GpuState = Literal["ok", "lost", "hung", "error"]
GPU_STATES: tuple[GpuState, ...] = ("ok", "lost", "hung", "error")

EnergySource = Literal["counter", "integrated", "module", "simulated"]
Role = Literal["mixed", "prefill", "decode", "router", "trainer"]
WasteCause = Literal["aborted", "error", "recomputed", "draft_rejected"]
Method = Literal["exclusive", "mig_activity", "mig_slice", "sm_share", "busy_share", "equal"]


class GpuInfo(Struct, frozen=True):
    """
    What a GPU is; read once a driver generation. Strings a driver does not give are empty.

    `numa_node` is set where the operating system owns the GPU's memory, as that of a node of its own.
    """

    uuid: str
    index: int
    name: str
    pci_bus_id: str = ""
    architecture: str = ""
    serial: str = ""
    vbios_version: str = ""
    numa_node: int | None = None


class GpuReading(Struct, frozen=True, omit_defaults=True):
    """
    One fast-tier read of one GPU; every fact that the GPU does not give is None.

    `monotonic_seconds` is the instant of the energy and power read. `power_is_mean` tells a
    one-second mean (True) from an instantaneous value (False). `energy_joules` is the driver's
    own cumulative counter, unaltered, and `energy_source` says what it counts.

    `throttled_seconds` cumulates, by reason, how long clocks were held down; reasons overlap. Counts of
    bytes start with the driver and may wrap. `failed_calls` are the driver calls whose latest answer was a
    passing failure, and the word for it.
    """

    monotonic_seconds: float
    energy_joules: float | None = None
    energy_source: EnergySource = "counter"
    power_watts: float | None = None
    power_is_mean: bool = True
    utilization_ratio: float | None = None
    memory_utilization_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_core_celsius: float | None = None
    temperature_memory_celsius: float | None = None
    clock_graphics_hertz: float | None = None
    clock_sm_hertz: float | None = None
    clock_memory_hertz: float | None = None
    throttled_seconds: dict[str, float] = {}
    pcie_transmitted_bytes: float | None = None
    pcie_received_bytes: float | None = None
    pcie_replays: float | None = None
    nvlink_transmitted_bytes: float | None = None
    nvlink_received_bytes: float | None = None
    gpm: GpmReading | None = None
    failed_calls: dict[str, str] = {}


class GpuProcess(Struct, frozen=True, omit_defaults=True):
    """
    A process that computes on a GPU, by its id in the agent's PID namespace.

    `sm_ratio` is its SM utilisation since the slow read before. `mig` is the UUID of the MIG instance in
    which it computes, empty on a whole GPU and where that is not known.
    """

    pid: int
    memory_bytes: int | None = None
    sm_ratio: float | None = None
    mig: str = ""


class GpuSlowReading(Struct, frozen=True, omit_defaults=True):
    """
    One slow-tier read (every 10-15 s) of one GPU: limits, health, and the processes that hold it.

    `temperature_thresholds_celsius` are temperatures at which the board acts. Newer boards tell instead the
    degrees that are left to their limit, `temperature_margin_celsius`, and in `temperature_margins_celsius`
    at which margins they act; those may be negative. `nvlink_errors` count by kind. `mig` is None without
    MIG and empty without an instance, and `mig_slices` how many slices of compute the whole of a divided GPU
    has. `top_processes` is None where nobody asked for them, and `active_vgpus` except on a host of vGPUs.
    """

    monotonic_seconds: float
    power_limit_watts: float | None = None
    power_limit_default_watts: float | None = None
    power_limit_min_watts: float | None = None
    power_limit_max_watts: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    clock_memory_hertz: float | None = None
    clock_sm_max_hertz: float | None = None
    clock_memory_max_hertz: float | None = None
    performance_state: int | None = None
    throttle_reasons: tuple[ThrottleReason, ...] | None = None
    temperature_margin_celsius: float | None = None
    temperature_margins_celsius: dict[str, float] = {}
    temperature_thresholds_celsius: dict[str, float] = {}
    fan_ratios: tuple[float, ...] = ()
    encoder_ratio: float | None = None
    decoder_ratio: float | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    nvlink_errors: dict[str, float] = {}
    fabric_state: FabricState | None = None
    fabric_health: FabricHealth | None = None
    bar1_used_bytes: int | None = None
    bar1_total_bytes: int | None = None
    os_memory_used_bytes: int | None = None
    os_memory_total_bytes: int | None = None
    ecc_enabled: bool | None = None
    ecc_errors: tuple[EccCount, ...] = ()
    retired_pages_corrected: int | None = None
    retired_pages_uncorrected: int | None = None
    retired_pages_pending: bool | None = None
    remapped_rows_corrected: int | None = None
    remapped_rows_uncorrected: int | None = None
    remapped_rows_pending: bool | None = None
    remapped_rows_failed: bool | None = None
    recovery_action: RecoveryAction | None = None
    compute_mode: ComputeMode | None = None
    persistence: bool | None = None
    virtualization_mode: VirtualizationMode | None = None
    active_vgpus: int | None = None
    mig: tuple[MigReading, ...] | None = None
    mig_slices: int | None = None
    top_processes: tuple[ProcessUse, ...] | None = None


class GpuEnergy(Struct, frozen=True):
    """
    The accounted energy of one GPU.

    `joules` is what `perwatt_gpu_energy_joules_total` shows for `source`; `accepted_joules` is the
    sum of all believed increments since the agent's account of this GPU began, free of resets.
    """

    source: EnergySource
    joules: float
    accepted_joules: float
    covered_seconds: float
    busy_seconds: float | None
    divergence_ratio: float | None


class GpuSnapshot(Struct, frozen=True):
    """
    One GPU at one sweep. When `state` is not "ok", all that was measured is None.

    `health` and `xids` stay whatever the state is; None and empty before anyone has looked at them.
    """

    info: GpuInfo
    state: GpuState
    reading: GpuReading | None = None
    slow: GpuSlowReading | None = None
    energy: GpuEnergy | None = None
    calibration_ratio: float | None = None
    unallocated_joules: float | None = None
    unknown_joules: float | None = None
    idle_power_watts: float | None = None
    health: GpuHealth | None = None
    xids: tuple[XidCount, ...] = ()


class Histogram(Struct, frozen=True):
    """
    Cumulative observations of one quantity, in the buckets of whoever observed it.

    `at_most` says how many were at most each of `bounds`, which are finite and ascend; `count` is the
    number of all, `sum` what they add up to.
    """

    bounds: tuple[float, ...]
    at_most: tuple[float, ...]
    count: float
    sum: float


class EngineCounts(Struct, frozen=True, omit_defaults=True):
    """
    What one page of an inference engine says: cumulative counts since the engine started.

    None is what the engine cannot tell; `work` holds other units than tokens, by unit, and
    `wasted_tokens` tokens that nobody got, by what became of them. Latencies are in seconds: the time
    per output token is each request's mean, the inter-token latency each token's own. `flops_per_gpu` are
    floating-point operations as the engine reckons them, a mean over its GPUs.
    `process_start_unix_seconds` tells a restart apart from a page that was merely out of reach.
    """

    model: str
    output_tokens: float | None = None
    prompt_computed_tokens: float | None = None
    prompt_cached_tokens: float | None = None
    effective_output_tokens: float | None = None
    requests_ok: float | None = None
    requests_aborted: float | None = None
    requests_error: float | None = None
    requests_running: float | None = None
    requests_waiting: float | None = None
    work: dict[str, float] = {}
    process_start_unix_seconds: float | None = None
    kv_cache_usage_ratio: float | None = None
    preemptions: float | None = None
    wasted_tokens: dict[WasteCause, float] = {}
    time_to_first_token: Histogram | None = None
    time_per_output_token: Histogram | None = None
    inter_token_latency: Histogram | None = None
    flops_per_gpu: float | None = None


class WorkloadInfo(Struct, frozen=True):
    """Who a workload is; immutable once exported. Unknown labels are empty."""

    workload: str
    group: str = ""
    role: Role = "mixed"
    engine: str = ""
    k8s_namespace: str = ""
    k8s_pod: str = ""
    k8s_container: str = ""
    slurm_job: str = ""
    systemd_unit: str = ""


class WorkloadGpuEnergy(Struct, frozen=True):
    """
    Board joules of one GPU that belong to one workload, by the workload's state.

    `method` says how its share of the GPU was found at last; None when it does not hold the GPU any more.
    """

    gpu: str
    active_joules: float
    idle_joules: float
    loading_joules: float
    method: Method | None = None


class WorkloadSnapshot(Struct, frozen=True):
    """
    One workload at the instant up to which its tokens and joules were settled together.

    `counts` is None until an engine page was settled; `up` is False while the page is out of reach.
    `info` is not to be shown before it is final, and never changes after. `missing_gpus` are those that it
    asked for and does not hold on this node.
    """

    info: WorkloadInfo
    up: bool
    info_is_final: bool = True
    counts: EngineCounts | None = None
    energy: tuple[WorkloadGpuEnergy, ...] = ()
    covered_seconds: float = 0.0
    missing_gpus: int | None = None


class NodeMeterSnapshot(Struct, frozen=True):
    """The whole node at the wall (AC), while `source` speaks for it; as in the metric contract."""

    source: str
    energy_joules: float
    covered_seconds: float
    power_watts: float | None = None


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
