"""How a GPU fares, and what happened on a node: closed lists of words, and frozen structs."""

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

EventKind = Literal["xid", "gpu_state", "health", "driver", "energy_source", "node_meter", "engine_restart"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
Severity = Literal["info", "warning", "critical"]


class GpuHealth(Struct, frozen=True):
    """The worst state that any reason gives, and all reasons that hold."""

    state: HealthState
    reasons: tuple[HealthReason, ...] = ()


class XidCount(Struct, frozen=True):
    """How often a GPU told of one XID error since the agent started; `xid` is its number, or a word."""

    xid: str
    count: int
    last_unix_seconds: float


class Event(Struct, frozen=True, omit_defaults=True):
    """
    Something that happened, in one sentence and in parts. `number` counts an agent's events from 1.

    `before` and `after` are states; which of the other parts there are depends on `kind`.
    """

    number: int
    unix_seconds: float
    kind: EventKind
    severity: Severity
    message: str
    gpu: str = ""
    workload: str = ""
    before: str = ""
    after: str = ""
    reasons: tuple[str, ...] = ()
    xid: int | None = None
