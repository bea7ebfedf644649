"""Requests that came before are answered without being read again, and nobody can tell."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from support.exposition.pages import healthy_8_gpus
from support.servers.web import PATIENCE_SECONDS, Answer, dropped, fetch, parse, request, serving

from perwatt_exporter.app import exporter_app
from perwatt_exporter.http.asgi import PLAIN, Response, Router, Scope, plain
from perwatt_exporter.http.connection import Limits
from perwatt_exporter.http.request_cache import MAX_BYTES, MAX_REQUESTS, Repeats

Run = Callable[[Coroutine[Any, Any, Any]], Any]
BIG_BODY = b"x" * 32_000_000


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on each kind of loop that the server must stand on."""
    loop = request.param()
    yield loop.run_until_complete
    loop.close()


class Counted:
    """An application that tells how often it answered, and how often without reading the request."""

    def __init__(self, body: bytes = b"") -> None:
        self.read = self.repeated = 0
        self._body = body
        self.app = Router({"/count": self._handle, "/other": lambda _: plain(200, "other")})

    def _handle(self, _: Scope) -> Response:
        self.read += 1
        return self._respond()

    def _again(self) -> Response:
        self.repeated += 1
        return self._respond()

    def _respond(self) -> Response:
        body = self._body or b"%d\n" % (self.read + self.repeated)
        return Response(200, PLAIN, body, ((b"x-kind", b"count"),), self._again)


class Client:
    """One connection, whose answers are read by their length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> "AsyncIterator[Client]":
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def ask(self, *pieces: bytes) -> Answer:
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.sleep(0.05)
        return await self.answer()

    async def answer(self) -> Answer:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
        length = int(parse(head).headers["content-length"])
        return parse(head + await asyncio.wait_for(self.reader.readexactly(length), PATIENCE_SECONDS))


def test_same_request(run: Run) -> None:
    """From the third time on a connection's request is not read, and its answers are as before, and new."""
    counted = Counted()

    async def scenario() -> list[Answer]:
        async with serving(counted.app) as port, Client.to(port) as client:
            return [await client.ask(request("/count")) for _ in range(6)]

    answers = run(scenario())

    assert [b"%d\n" % number for number in range(1, 7)] == [answer.body for answer in answers]
    assert (2, 4) == (counted.read, counted.repeated)
    assert 1 == len({(answer.status, *answer.headers.items()) for answer in answers})


def test_the_page(run: Run) -> None:
    """A page is the same bytes by either way, in each representation."""
    snapshot = healthy_8_gpus()

    async def scenario() -> list[tuple[Answer, Answer]]:
        app = exporter_app(lambda: snapshot, own=tuple)
        async with serving(app) as port, Client.to(port) as client:
            pairs = []
            for accept, encoding in (
                ("text/plain", "identity"),
                ("application/openmetrics-text", "gzip"),
            ):
                asked = request("/metrics", Accept=accept, Accept_Encoding=encoding)
                first, *_, last = [await client.ask(asked) for _ in range(4)]
                pairs.append((first, last))
            return pairs

    pairs = run(scenario())

    assert all(first == last for first, last in pairs)
    assert 2 == len({first.headers["content-type"] for first, _ in pairs})


def test_other_connections(run: Run) -> None:
    """What one client's connection taught serves another's, after its first request."""
    counted = Counted()

    async def scenario() -> None:
        async with serving(counted.app) as port:
            for _ in range(2):
                async with Client.to(port) as client:
                    for _ in range(3):
                        await client.ask(request("/count"))

    run(scenario())

    assert (3, 3) == (counted.read, counted.repeated)


def test_pipelined(run: Run) -> None:
    """Two requests in one piece are two requests, each time."""
    counted = Counted()

    async def scenario() -> list[bytes]:
        async with serving(counted.app) as port, Client.to(port) as client:
            await client.ask(request("/count"))
            bodies = []
            for _ in range(3):
                bodies.append((await client.ask(request("/count") + request("/other"))).body)
                bodies.append((await client.answer()).body)
            return bodies

    assert [b"2\n", b"other\n", b"3\n", b"other\n", b"4\n", b"other\n"] == run(scenario())
    assert 0 == counted.repeated


def test_in_pieces(run: Run) -> None:
    """A request in pieces is one request, however its pieces look."""
    counted = Counted()
    known = request("/count")

    async def scenario() -> list[bytes]:
        async with serving(counted.app) as port, Client.to(port) as client:
            for _ in range(3):
                await client.ask(known)
            halves = await client.ask(known[:20], known[20:])
            # What follows an answered request is the head of another, of which the known one is a part.
            first = await client.ask(known + b"GET /other HTTP/1.1\r\nHost: a\r\nX: ")
            second = await client.ask(known)
            return [halves.body, first.body, second.body]

    assert [b"4\n", b"5\n", b"other\n"] == run(scenario())
    assert 1 == counted.repeated


@pytest.mark.parametrize("asked", [request("/count", "HEAD"), request("/count", Connection="close")])
def test_read_each_time(run: Run, asked: bytes) -> None:
    """A request that is no plain GET, or the last on its connection, is read each time."""
    counted = Counted()

    async def scenario() -> None:
        async with serving(counted.app) as port:
            for _ in range(4):
                async with Client.to(port) as client:
                    await client.ask(request("/other"))
                    client.writer.write(asked)
                    await client.reader.readuntil(b"\r\n\r\n")

    run(scenario())

    assert (4, 0) == (counted.read, counted.repeated)


@pytest.mark.slow
def test_client_that_does_not_read(run: Run) -> None:
    """It gets one answer at a time, and is dropped as it would be otherwise."""
    counted = Counted(BIG_BODY)
    limits = Limits(patience_seconds=0.5, sweep_seconds=0.1)

    async def scenario() -> bytes:
        async with serving(counted.app, limits) as port, Client.to(port) as client:
            for _ in range(2):
                await client.ask(request("/count"))
            for _ in range(5):
                client.writer.write(request("/count"))
                await asyncio.sleep(0.05)
            await asyncio.sleep(2.0)
            received = await dropped(client.reader)
            assert 200 == (await fetch(port, "/other")).status
            return received

    received = run(scenario())

    assert len(received) < len(BIG_BODY)
    assert 1 == counted.repeated


def test_bounds() -> None:
    """Long requests are not kept, and of many not all."""
    repeats = Repeats()
    repeats.learn(b"x" * (MAX_BYTES + 1), lambda: plain(200, ""))
    for number in range(10 * MAX_REQUESTS):
        repeats.learn(b"%d" % number, lambda: plain(200, ""))

    assert repeats.find(b"x" * (MAX_BYTES + 1)) is None
    assert repeats.find(b"%d" % (10 * MAX_REQUESTS - 1)) is not None
    assert 1 <= len(repeats._answers) <= MAX_REQUESTS
