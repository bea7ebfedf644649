"""Closed lists of the states that a driver reports of a GPU."""

from typing import Literal

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
"""Why clocks are reduced now."""

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
"""Action that the driver asks for to recover a GPU."""

FabricState = Literal["not_started", "in_progress", "completed"]
FabricHealth = Literal["healthy", "unhealthy", "limited_capacity"]

ComputeMode = Literal["default", "exclusive_thread", "prohibited", "exclusive_process"]

VirtualizationMode = Literal["none", "passthrough", "vgpu", "host_vgpu", "host_vsga"]
"""Bare metal, in a guest as a whole GPU or as a vGPU, or on a host that offers vGPUs or vSGA."""
