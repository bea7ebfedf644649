"""Schema of `/v1/events`."""

from msgspec import Struct

from perwatt_agent.facts.event import Event


class EventItem(Event, frozen=True):
    """
    One event of one node, at a time by that node's clock. What its kind does not have is null or empty.
    """

    node: str


class Events(Struct, frozen=True):
    """
    Events in the order in which they were heard of, newest first. `next` is the cursor to ask with for what
    comes after the newest.
    """

    items: tuple[EventItem, ...]
    next: str
    schema_version: int = 1
