"""What happened on all nodes: fetched from the agents when their pages say that there is more."""

import logging
from collections import deque
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from perwatt_aggregator.readings.agent import Agent
from perwatt_aggregator.schema.events import EventItem, Events
from perwatt_aggregator.sources.scrape import ScrapeFailed, fetch
from perwatt_exporter.routes.events import Events as AgentEvents

logger = logging.getLogger(__name__)

MAX_EVENTS = 10_000
MAX_LIMIT = 1_000


class EventLog:
    """
    The newest events of all nodes. An agent that has none to tell, or is older than they are, is not asked.

    `run` tells this log's cursors from those of the aggregator before.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._items: deque[EventItem] = deque(maxlen=MAX_EVENTS)
        self._count = 0
        self._cursors: dict[str, str] = {}
        self._heard: dict[str, float] = {}
        self._failing: set[str] = set()

    async def follow(self, node: Agent, session: aiohttp.ClientSession) -> None:
        """Fetch what a node's newest page says has happened since; what fails is tried with the next one."""
        told = node.sample.events if node.sample is not None else None
        name = node.target.node
        if told is None or told == self._heard.get(name, 0.0):
            return
        try:
            answer = await self._ask(node, session)
        except (ScrapeFailed, msgspec.MsgspecError) as error:
            if name not in self._failing:
                logger.warning("no events of %s: %s; will keep trying", node.target.url, error)
            self._failing.add(name)
            return
        self._failing.discard(name)
        self._heard[name], self._cursors[name] = told, answer.next
        for item in reversed(answer.items):
            self._items.append(_of_node(name, item))
            self._count += 1

    def answer(self, since: str | None, limit: int) -> Events:
        """At most *limit* events that were heard of after the cursor; one of another run hears them all."""
        run, _, number = (since or "").rpartition("-")
        after = int(number) if run == self._run and number else 0
        fresh = min(self._count - after, len(self._items), limit)
        newest = tuple(self._items[-1 - index] for index in range(max(0, fresh)))
        return Events(newest, f"{self._run}-{self._count}")

    async def _ask(self, node: Agent, session: aiohttp.ClientSession) -> AgentEvents:
        """Raises ScrapeFailed and MsgspecError."""
        cursor = self._cursors.get(node.target.node)
        query = f"?limit={MAX_LIMIT}" + (f"&since={quote(cursor)}" if cursor else "")
        base = node.target.url.partition("?")[0].rpartition("/")[0]
        return msgspec.json.decode(await fetch(session, f"{base}/v1/events{query}"), type=AgentEvents)


def _of_node(node: str, item: Struct) -> EventItem:
    parts = {name: getattr(item, name) for name in EventItem.__struct_fields__ if name != "node"}
    return EventItem(node, **parts)
