"""Facts about GPUs: identity, readings, energy; what is not known is None."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.gpu_details import (
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
from perwatt_agent.facts.health import GpuHealth, XidCount

GpuState = Literal["ok", "lost", "hung", "error"]
GPU_STATES: tuple[GpuState, ...] = ("ok", "lost", "hung", "error")
EnergySource = Literal["counter", "integrated", "module", "simulated"]


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
