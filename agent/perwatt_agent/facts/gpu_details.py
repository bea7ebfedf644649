"""
What a GPU tells in depth, in parts of its readings: closed lists of words, and frozen structs in base units.

Everything that a GPU does not give is None, or not in the list.
"""

from typing import Literal

from msgspec import Struct

ThrottleReason = Literal[
    "idle",
    "application_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clocks",
    "board_limit",
    "reliability",
]
"""Why clocks are lower than they could be, now."""

RecoveryAction = Literal[
    "none",
    "reset",
    "reboot",
    "drain_p2p",
    "drain_and_reset",
    "restart_imex",
    "bus_reset",
    "system_reboot",
    "other",
]
"""What the driver asks for to make a GPU whole again."""

FabricState = Literal["not_started", "in_progress", "completed"]
FabricHealth = Literal["healthy", "unhealthy", "limited_capacity"]
ComputeMode = Literal["default", "exclusive_thread", "prohibited", "exclusive_process"]
VirtualizationMode = Literal["none", "passthrough", "vgpu", "host_vgpu", "host_vsga"]
"""Bare metal, in a guest as a whole or as a vGPU, or on a host that shares it out as vGPUs or by vSGA."""
EccKind = Literal["volatile", "aggregate"]
"""Since the driver was loaded, or over the board's life."""
EccType = Literal["corrected", "uncorrected"]
EccLocation = Literal["all", "l1", "l2", "device_memory", "register_file", "texture", "cbu"]
"""Where errors were; `all` is the board's own sum, which may hold more than the places that it names."""

GpmMode = Literal["auto", "on", "off"]
"""Whether the chip's performance monitor is used; `auto` gives way to DCGM."""
Detail = Literal["full", "core"]
"""How much is read of each GPU: all, or energy, power, load, memory, heat, clocks and limits alone."""


class EccCount(Struct, frozen=True):
    """Memory errors of one kind, type and place."""

    kind: EccKind
    type: EccType
    location: EccLocation
    errors: int


class GpmReading(Struct, frozen=True, omit_defaults=True):
    """
    What the chip's own performance monitor saw (Hopper and newer): means over `window_seconds`, which end at
    `monotonic_seconds`. Ratios are 0 to 1.

    `cycles` are cumulative counts since the machine was started, by name: `elapsed` and `active` of the SMs,
    then those in which each pipe was at work.
    """

    monotonic_seconds: float
    window_seconds: float
    sm_active_ratio: float | None = None
    sm_occupancy_ratio: float | None = None
    tensor_active_ratio: float | None = None
    fp64_active_ratio: float | None = None
    fp32_active_ratio: float | None = None
    fp16_active_ratio: float | None = None
    dram_bandwidth_ratio: float | None = None
    pcie_transmitted_bytes_per_second: float | None = None
    pcie_received_bytes_per_second: float | None = None
    nvlink_transmitted_bytes_per_second: float | None = None
    nvlink_received_bytes_per_second: float | None = None
    cycles: dict[str, float] = {}


class MigReading(Struct, frozen=True, omit_defaults=True):
    """
    One MIG instance of a GPU, by its UUID. Power and energy belong to the whole board and are never here.

    `gpm` is that of its GPU instance, which other compute instances may share.
    """

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: str = ""
    gpu_slices: int | None = None
    compute_slices: int | None = None
    multiprocessors: int | None = None
    memory_used_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    memory_total_bytes: int | None = None
    gpm: GpmReading | None = None


class ProcessUse(Struct, frozen=True, omit_defaults=True):
    """How much of a GPU one process uses; a `pid` of None stands for all that are not listed, together."""

    pid: int | None
    memory_bytes: int | None = None
    sm_ratio: float | None = None
