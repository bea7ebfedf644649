"""Health of a GPU: closed lists of states and reasons, and counts of XID errors."""

from typing import Literal, get_args

from msgspec import Struct

HealthState = Literal["ok", "degraded", "at_risk", "failed"]
HEALTH_STATES: tuple[HealthState, ...] = get_args(HealthState)
"""From best to worst."""

HealthReason = Literal[
    "driver_down",
    "lost",
    "hung",
    "unreadable",
    "calls_fail",
    "xid_fatal",
    "xid_warning",
    "xid_application_repeated",
    "recovery_needed",
    "recovery_advised",
    "sram_threshold",
    "remap_failed",
    "remap_pending",
    "ecc_uncorrectable",
    "ecc_correctable_rising",
    "nvlink_errors",
    "fabric_unhealthy",
    "pcie_link_reduced",
    "power_brake",
    "thermal_margin_shrinking",
    "busy_without_tokens",
]
HEALTH_REASONS: tuple[HealthReason, ...] = get_args(HealthReason)


class GpuHealth(Struct, frozen=True):
    """Health of one GPU: the worst state of all reasons that hold, and those reasons."""

    state: HealthState
    reasons: tuple[HealthReason, ...] = ()


class XidCount(Struct, frozen=True):
    """Count of one XID error of a GPU since the agent started; `xid` is its number, or a word."""

    xid: str
    count: int
    last_unix_seconds: float
