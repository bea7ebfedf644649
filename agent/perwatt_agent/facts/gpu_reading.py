"""Readings of one GPU, fast and slow tier, in base units; None is a fact that the GPU does not give."""

from typing import Literal

from msgspec import Struct

from perwatt_agent.facts.ecc import EccCount, SramErrors
from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu_process import GpuProcess, ProcessUse
from perwatt_agent.facts.gpu_status import (
    ComputeMode,
    FabricHealth,
    FabricState,
    RecoveryAction,
    ThrottleReason,
    VirtualizationMode,
)
from perwatt_agent.facts.mig import MigReading

Detail = Literal["full", "core"]
"""How much is read of each GPU: everything, or only energy, power, load, memory, heat, clocks and limits."""

EnergySource = Literal["counter", "integrated", "module", "simulated"]


class GpuReading(Struct, frozen=True, omit_defaults=True):
    """
    One fast-tier read of one GPU; every fact that the GPU does not give is None.

    `monotonic_seconds` is the instant of the energy and power read. `power_is_mean` is True for a one-second
    mean and False for an instantaneous value. `energy_joules` is the driver's own cumulative counter,
    unaltered, and `energy_source` says what it counts.

    `throttled_seconds` accumulates, by reason, how long clocks were reduced; reasons overlap. Counts of bytes
    start with the driver and may wrap. `failed_calls` are the driver calls whose latest answer was a
    temporary failure, with its name.
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


class GpuSlowReading(Struct, frozen=True, omit_defaults=True):
    """
    One slow-tier read (every 10-15 s) of one GPU: limits, health, and the processes that hold it.

    `temperature_thresholds_celsius` are temperatures at which the board acts. Boards since Ada,
    but not GeForce, report instead the degrees to their limit, `temperature_margin_celsius`, and the margins
    at which they act, `temperature_margins_celsius`, which may be negative. `nvlink_errors` count by kind.
    `throttle_reasons_unknown` are reasons that the board does not report reliably. `remap_banks` counts banks
    of memory by the availability of spare rows. `mig` is None without MIG and empty without an instance.
    `mig_slices` is the number of compute slices of the whole GPU. `top_processes` is None unless they are
    configured, and `active_vgpus` except on a host of vGPUs.
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
    throttle_reasons_unknown: tuple[ThrottleReason, ...] = ()
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
    remap_banks: dict[str, int] = {}
    sram_errors: SramErrors | None = None
    recovery_action: RecoveryAction | None = None
    compute_mode: ComputeMode | None = None
    persistence: bool | None = None
    virtualization_mode: VirtualizationMode | None = None
    active_vgpus: int | None = None
    mig: tuple[MigReading, ...] | None = None
    mig_slices: int | None = None
    top_processes: tuple[ProcessUse, ...] | None = None
