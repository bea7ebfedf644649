"""Event store: the newest events of all nodes, of which one node has a bounded share."""

from collections import deque

import msgspec
from msgspec import Struct

from perwatt_aggregator.schema.events import EventItem, Events

MAX_EVENTS = 10_000
MAX_EVENTS_OF_NODE = 1_000
MAX_BYTES_OF_NODE = 1024 * 1024
"""As JSON."""


class _Share(Struct):
    """The numbers and sizes of one node's events, the oldest first."""

    events: deque[tuple[int, int]]
    bytes: int = 0


class EventStore:
    """
    Events, numbered from 1 in the order in which they were added. `run` identifies this process in cursors.

    A node with more events than its share loses its own oldest ones, not those of other nodes.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._last = 0
        self._items: dict[int, EventItem] = {}
        self._shares: dict[str, _Share] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: EventItem) -> None:
        """Add an event."""
        self._last += 1
        self._items[self._last] = item
        share = self._shares.setdefault(item.node, _Share(deque()))
        size = len(msgspec.json.encode(item))
        share.events.append((self._last, size))
        share.bytes += size
        while len(share.events) > MAX_EVENTS_OF_NODE or share.bytes > MAX_BYTES_OF_NODE:
            self._drop_oldest(share)
        if len(self._items) > MAX_EVENTS:
            self._drop_oldest(self._shares[self._items[next(iter(self._items))].node])

    def newest(self, since: str | None, limit: int) -> Events:
        """At most *limit* events after the cursor *since*, newest first; all for a cursor of another run."""
        run, _, number = (since or "").rpartition("-")
        after = int(number) if run == self._run and number else 0
        found: list[EventItem] = []
        for one in reversed(self._items):
            if one <= after or len(found) == limit:
                break
            found.append(self._items[one])
        return Events(tuple(found), f"{self._run}-{self._last}")

    def _drop_oldest(self, share: _Share) -> None:
        number, size = share.events.popleft()
        share.bytes -= size
        item = self._items.pop(number)
        if not share.events:
            del self._shares[item.node]
