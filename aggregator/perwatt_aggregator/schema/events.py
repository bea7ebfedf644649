"""Schema of `/v1/events`."""

from msgspec import Struct

from perwatt_agent.facts.event import Event


class EventItem(Event, frozen=True):
    """
    One event of one node, at a time by that node's clock. Fields that its kind does not have are null or
    empty.
    """

    node: str


class Events(Struct, frozen=True):
    """
    Events in the order in which they were fetched, newest first. `next` is the cursor for newer events.
    """

    items: tuple[EventItem, ...]
    next: str
    schema_version: int = 1
