"""Health of a GPU: closed lists of states and reasons, and counts of XID errors."""

from typing import Literal, get_args

from msgspec import Struct

HealthState = Literal["ok", "degraded", "at_risk", "failed"]
HEALTH_STATES: tuple[HealthState, ...] = get_args(HealthState)
"""From well to worst."""

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
    """The worst state that any reason gives, and all reasons that hold."""

    state: HealthState
    reasons: tuple[HealthReason, ...] = ()


class XidCount(Struct, frozen=True):
    """How often a GPU told of one XID error since the agent started; `xid` is its number, or a word."""

    xid: str
    count: int
    last_unix_seconds: float
