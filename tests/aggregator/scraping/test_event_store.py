"""Event store: numbered, newest first, and no node takes the places of others."""

import pytest
from msgspec.structs import asdict

from perwatt_agent.facts.event import event_at
from perwatt_aggregator.schema.events import EventItem
from perwatt_aggregator.scraping.event_store import (
    MAX_BYTES_OF_NODE,
    MAX_EVENTS,
    MAX_EVENTS_OF_NODE,
    EventStore,
)


def event(node: str, message: str) -> EventItem:
    return EventItem(node, **asdict(event_at(1.8e9, "xid", "critical", message, xid=79)))


def messages(store: EventStore, since: str | None = None, limit: int = 2 * MAX_EVENTS) -> list[str]:
    return [item.message for item in store.newest(since, limit).items]


def test_cursor() -> None:
    """A cursor gives what is newer, and a cursor of another run everything."""
    store = EventStore("aa")
    store.add(event("one", "first"))
    cursor = store.newest(None, 1).next
    store.add(event("two", "second"))

    assert ["second", "first"] == messages(store)
    assert ["second"] == messages(store, cursor)
    assert ["second"] == messages(store, limit=1)
    assert ["second", "first"] == messages(store, "bb-2")
    assert [] == messages(store, store.newest(None, 1).next)


def test_one_node_floods() -> None:
    """A node that has more events than its share loses its own; the others keep theirs."""
    store = EventStore("aa")
    store.add(event("good", "good"))
    for number in range(2 * MAX_EVENTS):
        store.add(event("bad", str(number)))

    assert MAX_EVENTS_OF_NODE + 1 == len(store)
    assert ["good"] == messages(store)[-1:]
    assert str(2 * MAX_EVENTS - 1) == messages(store)[0]


@pytest.mark.parametrize("size", [10_000, 2 * MAX_BYTES_OF_NODE])
def test_long_messages(size: int) -> None:
    """The share is one of memory, too."""
    store = EventStore("aa")
    store.add(event("good", "good"))
    for _ in range(300):
        store.add(event("bad", "x" * size))

    assert len(store) <= 1 + MAX_BYTES_OF_NODE // size
    assert ["good"] == messages(store)[-1:]


def test_many_nodes() -> None:
    """All nodes together have a bound; the oldest event goes."""
    store = EventStore("aa")
    for number in range(MAX_EVENTS + 100):
        store.add(event(f"node-{number % 500}", str(number)))

    assert MAX_EVENTS == len(store)
    assert "100" == messages(store)[-1]
