"""Event of a node: something that happened, with a closed list of kinds."""

from datetime import datetime, timezone
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

EventKind = Literal["xid", "gpu_state", "health", "driver", "energy_source", "node_meter", "engine_restart"]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
Severity = Literal["info", "warning", "critical"]
Text = Annotated[str, Meta(max_length=2_000)]
"""Bounded, because the aggregator decodes events of any host that it is configured for."""


# Keyword-only, so that the field that an answer adds (`number`, `node`) is the first one in its JSON.
class Event(Struct, frozen=True, kw_only=True):
    """
    One event: a sentence and its parts, as JSON answers write them.

    `time` is RFC 3339 in UTC, by the node's clock. `before` and `after` are states. A part that its kind
    does not have is None or empty.
    """

    time: Text
    kind: EventKind
    severity: Severity
    message: Text
    gpu: Text | None
    workload: Text | None
    before: Text | None
    after: Text | None
    reasons: Annotated[tuple[Text, ...], Meta(max_length=100)]
    xid: int | None


def event_at(
    unix_seconds: float,
    kind: EventKind,
    severity: Severity,
    message: str,
    *,
    gpu: str = "",
    workload: str = "",
    before: str = "",
    after: str = "",
    reasons: tuple[str, ...] = (),
    xid: int | None = None,
) -> Event:
    """The event that happened at *unix_seconds*."""
    return Event(
        time=datetime.fromtimestamp(unix_seconds, timezone.utc).isoformat(timespec="milliseconds"),
        kind=kind,
        severity=severity,
        message=message,
        gpu=gpu or None,
        workload=workload or None,
        before=before or None,
        after=after or None,
        reasons=reasons,
        xid=xid,
    )
