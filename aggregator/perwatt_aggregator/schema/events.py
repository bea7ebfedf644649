"""Schema of `/v1/events`."""

from msgspec import Struct

from perwatt_agent.facts.event import EventKind, Severity


class EventItem(Struct, frozen=True):
    """
    One event of one node, at a time by that node's clock. What its kind does not have is null or empty.
    """

    node: str
    time: str
    kind: EventKind
    severity: Severity
    message: str
    gpu: str | None
    workload: str | None
    before: str | None
    after: str | None
    reasons: tuple[str, ...]
    xid: int | None


class Events(Struct, frozen=True):
    """
    Events in the order in which they were heard of, newest first. `next` is the cursor to ask with for what
    comes after the newest.
    """

    items: tuple[EventItem, ...]
    next: str
    schema_version: int = 1
