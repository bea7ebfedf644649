"""Event log of all nodes: fetched from an agent when its page counts more events than were fetched."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from perwatt_agent.facts.event import Event
from perwatt_aggregator.readings.agent import Agent
from perwatt_aggregator.schema.events import EventItem, Events
from perwatt_aggregator.scraping.event_store import EventStore
from perwatt_aggregator.scraping.scraper import Fetch, ScrapeFailed
from perwatt_exporter.routes.events import Events as AgentEvents

logger = logging.getLogger(__name__)

MAX_LIMIT = 1_000
MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""Of MAX_LIMIT events with long messages; decoding them takes some milliseconds."""


class _Batch(Struct, frozen=True):
    """Events as they are saved: those of one fetch, the oldest first, and where the next fetch goes on."""

    node: str
    counted: float
    cursor: str
    items: tuple[EventItem, ...]


def _save_nowhere(batch: bytes) -> None:
    """The events end with this process."""


class EventLog:
    """
    The newest events of all nodes. An agent that counts no events, or is too old to, is not asked.

    `run` identifies this process in cursors. *save* keeps what is fetched, and *saved* is what it kept
    before: events of agents that went on meanwhile are fetched after those.
    """

    def __init__(
        self, run: str, saved: Iterable[bytes] = (), save: Callable[[bytes], None] = _save_nowhere
    ) -> None:
        self._store = EventStore(run)
        self._save = save
        self._cursors: dict[str, str] = {}
        self._fetched: dict[str, float] = {}
        self._failing: set[str] = set()
        for one in saved:
            # Of another version: what an agent still has of them is fetched again.
            with suppress(msgspec.MsgspecError):
                self._add(msgspec.json.decode(one, type=_Batch))

    async def follow(self, node: Agent, fetch: Fetch) -> None:
        """Fetch the events that the node's newest page counts beyond those fetched; retry after the next."""
        counted = node.sample.events if node.sample is not None else None
        name = node.target.node
        if counted is None or counted == self._fetched.get(name, 0.0):
            return
        try:
            answer = await self._fetch(node, fetch)
        except (ScrapeFailed, msgspec.MsgspecError) as error:
            if name not in self._failing:
                logger.warning(
                    "no events of %s: %s; will keep trying; check this target under `sources`",
                    node.target.url,
                    error,
                )
            self._failing.add(name)
            return
        self._failing.discard(name)
        items = tuple(_of_node(name, item) for item in reversed(answer.items[:MAX_LIMIT]))
        batch = _Batch(name, counted, answer.next, items)
        self._add(batch)
        self._save(msgspec.json.encode(batch))

    def _add(self, batch: _Batch) -> None:
        self._fetched[batch.node], self._cursors[batch.node] = batch.counted, batch.cursor
        for item in batch.items:
            self._store.add(item)

    def answer(self, since: str | None, limit: int) -> Events:
        """At most *limit* events after the cursor *since*; all events for a cursor of another run."""
        return self._store.newest(since, limit)

    async def _fetch(self, node: Agent, fetch: Fetch) -> AgentEvents:
        """Raises ScrapeFailed and MsgspecError."""
        cursor = self._cursors.get(node.target.node)
        query = f"?limit={MAX_LIMIT}" + (f"&since={quote(cursor)}" if cursor else "")
        base = node.target.url.partition("?")[0].rpartition("/")[0]
        answer = await fetch(f"{base}/v1/events{query}")
        if len(answer) > MAX_ANSWER_BYTES:
            raise ScrapeFailed("too_large", f"the events have more than {MAX_ANSWER_BYTES} bytes")
        return msgspec.json.decode(answer, type=AgentEvents)


def _of_node(node: str, item: Event) -> EventItem:
    return EventItem(node, **{name: part for name, part in asdict(item).items() if name != "number"})
