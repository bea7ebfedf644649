"""Events of several agents, over real sockets: merged once each, from where the last answer ended."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.exposition.pages import healthy_8_gpus
from support.gpus.devices import eventually
from support.history.recorded import history_at, tick_of
from support.servers.asgi import ask
from support.servers.web import serving

from perwatt_agent.clock import SystemClock
from perwatt_agent.diagnosis.event_ring import EventRing
from perwatt_agent.facts.event import Event, event_at
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.targets.config import agents_at
from perwatt_exporter.app import exporter_app


class Agent:
    """An agent's page and events; an old one has neither count nor route."""

    def __init__(self, run: str, *, old: bool = False) -> None:
        self.ring: EventRing[Event] = EventRing(run)
        self._started = SystemClock().unix()
        self._old = old
        self.app = exporter_app(self._latest, events=None if old else self.ring)

    def happen(self, message: str) -> None:
        self.ring.add(event_at(self._started, "xid", "critical", message, gpu="GPU-0", xid=79))

    def restart(self) -> None:
        self.ring.__init__(self.ring.run + "1")  # type: ignore[misc]

    def _latest(self) -> Snapshot:
        events = () if self._old else self.ring.counts()
        return replace(healthy_8_gpus(), unix_seconds=SystemClock().unix(), events=events)


@asynccontextmanager
async def following(*agents: Agent) -> AsyncIterator[Aggregator]:
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(serving(agent.app)) for agent in agents]
        urls = tuple(f"http://127.0.0.1:{port}/metrics" for port in ports)
        config = AggregatorConfig(sources=agents_at(*urls), scrape_interval=0.1)
        aggregator = Aggregator(config, SystemClock())
        await aggregator.start()
        try:
            yield aggregator
        finally:
            await aggregator.stop()


def messages(aggregator: Aggregator) -> list[str]:
    return [item.message for item in aggregator.events.answer(None, 1_000).items]


async def comes(condition: Callable[[], bool]) -> None:
    await eventually(condition)


async def test_merged() -> None:
    """Events before and after the start are returned once, with their node, newest first."""
    one, two = Agent("aa"), Agent("bb")
    one.happen("first")
    async with following(one, two) as aggregator:
        await comes(lambda: messages(aggregator) == ["first"])
        cursor = aggregator.events.answer(None, 1_000).next
        two.happen("second")
        await comes(lambda: messages(aggregator) == ["second", "first"])
        await asyncio.sleep(0.5)  # several scrapes later it is still told once

        assert ["second", "first"] == messages(aggregator)
        fresh = aggregator.events.answer(cursor, 1_000).items
        assert [(aggregator.nodes[1].target.node, "second")] == [(one.node, one.message) for one in fresh]
        assert ["second"] == [one.message for one in aggregator.events.answer(None, 1).items]
        assert 2 == len(aggregator.events.answer("00-7", 1_000).items), "a cursor of another aggregator"


async def test_an_agent_that_was_restarted() -> None:
    """All events of its new run are returned, although its numbers restart."""
    agent = Agent("aa")
    for message in ("one", "two"):
        agent.happen(message)
    async with following(agent) as aggregator:
        await comes(lambda: messages(aggregator) == ["two", "one"])
        agent.restart()
        agent.happen("three")
        await comes(lambda: messages(aggregator) == ["three", "two", "one"])


async def test_an_older_agent(caplog: pytest.LogCaptureFixture) -> None:
    """An agent without events is scraped as usual, and no events are fetched from it."""
    caplog.set_level(logging.WARNING)
    async with following(Agent("aa", old=True)) as aggregator:
        await comes(lambda: aggregator.nodes[0].up)
        await asyncio.sleep(0.3)

        assert aggregator.nodes[0].up
        assert [] == messages(aggregator) == caplog.records


async def test_over_http() -> None:
    """The answer is JSON with a cursor; an invalid parameter gives a problem."""
    agent = Agent("aa")
    agent.happen("first")
    async with following(agent) as aggregator:
        app = create_app(aggregator)
        await comes(lambda: messages(aggregator) == ["first"])
        answer = (await ask(app, "/v1/events?limit=5")).json()
        assert (1, "first", 79) == (
            answer["schema_version"],
            answer["items"][0]["message"],
            answer["items"][0]["xid"],
        )
        assert [] == (await ask(app, f"/v1/events?since={answer['next']}")).json()["items"]
        for query in ("limit=0", "limit=x", "since=yesterday", "colour=red"):
            reply = await ask(app, f"/v1/events?{query}")
            assert (422, "application/problem+json") == (reply.status, reply.headers["content-type"])


async def test_events_survive_a_restart(tmp_path: Path) -> None:
    """With a history, an aggregator that starts again has the events of before, once, and what came since."""
    agent = Agent("aa")
    agent.happen("before")
    async with serving(agent.app) as port:
        config = AggregatorConfig(agents_at(f"http://127.0.0.1:{port}/metrics"), scrape_interval=0.1)
        for number, expected in enumerate((["before"], ["meanwhile", "before"])):
            history = history_at(tmp_path / "history.db", SystemClock())
            aggregator = Aggregator(config, SystemClock(), history=history)
            assert expected[1:] == messages(aggregator)
            await aggregator.start()
            try:
                await comes(lambda: messages(aggregator) == expected)  # noqa: B023 - awaited here
                await history.add(tick_of(1_800_000_000 + 15 * number))
            finally:
                await aggregator.stop()
            agent.happen("meanwhile")
