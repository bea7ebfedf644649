"""Agents over real sockets, good ones and rubbish: bounded, named, and no trouble to each other."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest
from support.fleet.agents import serving_machine
from support.servers.web import PATIENCE_SECONDS

from perwatt_agent.clock import SystemClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.scraping.scraper import MAX_PAGE_BYTES, SCRAPE_REASONS
from perwatt_aggregator.targets.config import agents_at
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(answer: bytes) -> Answer:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return write


async def huge(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    for _ in range(1000):
        writer.write(b"x 1\n" * 250_000)
        await writer.drain()


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4\r\nx 1\n\r\n" * 10_000)
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


async def silent(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(PATIENCE_SECONDS)


def good_page() -> bytes:
    snapshot = serving_machine().snapshot()
    return page(Renderer().collected(((family, family.read(snapshot)) for family in ALL), "text"), "text")


RUBBISH: dict[str, tuple[Answer, set[str]]] = {
    "html": (says(http(b"<!doctype html><p>Welcome to nginx")), {"html"}),
    "json": (says(http(b'{"status": "ok"}')), {"json"}),
    "text": (says(http(b"it works\n" * 9)), {"not_metrics"}),
    "other": (says(http(b"vllm:generation_tokens_total 5\n")), {"not_an_agent"}),
    "binary": (says(http(b"a 1\n\0\0")), {"binary"}),
    "empty": (says(http(b"")), {"not_an_agent"}),
    "error": (says(http(b"oops", status="500 Internal Server Error")), {"http_status"}),
    "missing": (says(http(b"no", status="404 Not Found")), {"http_status"}),
    "redirect": (says(http(b"", "Location: http://127.0.0.1:1/", status="302 Found")), {"redirect"}),
    "huge": (huge, {"too_large", "timeout"}),
    "endless": (endless, {"too_large", "timeout"}),
    "bomb": (
        says(http(gzip.compress(b"x 1\n" * (MAX_PAGE_BYTES // 2)), "Content-Encoding: gzip")),
        {"too_large"},
    ),
    "no gzip": (says(http(b"plain", "Content-Encoding: gzip")), {"encoding"}),
    "cut": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx 1\n"), {"protocol"}),
    "not http": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), {"protocol"}),
    "drip": (drip, {"timeout"}),
    "silent": (silent, {"timeout"}),
}


@contextlib.asynccontextmanager
async def agents(answers: dict[str, Answer]) -> AsyncIterator[dict[str, str]]:
    """Serve each answer on a port of its own; gives the URLs."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    def connected(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            writers.add(writer)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)
            writer.close()

        return serve

    servers = {
        name: await asyncio.start_server(connected(answer), "127.0.0.1", 0)
        for name, answer in answers.items()
    }
    try:
        yield {
            name: f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
            for name, server in servers.items()
        }
    finally:
        for server in servers.values():
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def scraping(urls: dict[str, str], interval_seconds: float = 0.2) -> AsyncIterator[dict[str, Node]]:
    config = AggregatorConfig(agents_at(*urls.values()), interval_seconds)
    aggregator = Aggregator(config, SystemClock())
    await aggregator.start()
    try:
        yield dict(zip(urls, aggregator.nodes, strict=True))
    finally:
        await aggregator.stop()


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for is set by the code under test
            await asyncio.sleep(0.02)

    await asyncio.wait_for(poll(), PATIENCE_SECONDS)


@pytest.mark.slow
async def test_rubbish_agents() -> None:
    """Each of them is named with its reason; a good one beside them is read all the time."""
    answers = {name: answer for name, (answer, _) in RUBBISH.items()}
    async with agents({**answers, "good": says(http(good_page()))}) as urls, scraping(urls, 3.0) as nodes:
        await until(lambda: all(RUBBISH[name][1] & nodes[name].failures.keys() for name in RUBBISH))
        found = {name: set(nodes[name].failures) for name in RUBBISH}
        await until(lambda: nodes["good"].up)

    # The servers share the loop with the aggregator: on a busy machine their own answers may be late.
    wrong = {name: reasons for name, reasons in found.items() if reasons - RUBBISH[name][1] - {"timeout"}}
    assert {} == wrong
    assert set().union(*found.values()) <= set(SCRAPE_REASONS)
    assert 0 == sum(nodes["good"].failures.values())


def _cut_answers(whole: bytes) -> dict[str, Answer]:
    """A page that ends inside its last number, in every way in which its end can be lost."""
    cut, packed = whole[:-2], gzip.compress(whole)
    return {
        "short of its length": says(http(whole)[:-2]),
        "without a length": says(b"HTTP/1.1 200 OK\r\n\r\n" + cut),
        "by a proxy that counts again": says(http(cut)),
        "in its last chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nx 1"),
        "a stream without its end": says(http(packed[:-20], "Content-Encoding: gzip")),
        "a stream without its checksum": says(http(packed[:-8], "Content-Encoding: gzip")),
        "a stream without a length": says(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed[:-20]
        ),
    }


async def test_cut_pages_are_no_readings() -> None:
    """A page that lacks its end gives no reading: its last number may be another one."""
    answers = _cut_answers(good_page())
    async with agents({**answers, "good": says(http(good_page()))}) as urls, scraping(urls) as nodes:
        await until(lambda: nodes["good"].up and all(nodes[name].failure for name in answers))
        found = {name: (nodes[name].failure, nodes[name].sample) for name in answers}

    assert dict.fromkeys(answers, ("protocol", None)) == found


async def test_any_cut() -> None:
    """Wherever a page is cut, no number is read that the whole page does not have."""
    whole, random = good_page(), Random(15)
    counters = PageReader().read(whole, 0.0).counters
    cuts = [whole[: random.randrange(len(whole))] for _ in range(10)]
    answers = {f"plain {index}": says(http(cut)) for index, cut in enumerate(cuts)} | {
        f"packed {index}": says(http(gzip.compress(cut), "Content-Encoding: gzip"))
        for index, cut in enumerate(cuts)
    }
    async with agents(answers) as urls, scraping(urls, 1.0) as nodes:
        await until(lambda: all(node.failure or node.sample for node in nodes.values()))
        found = [node.sample.counters for node in nodes.values() if node.sample is not None]

    assert len(answers) > len(found)
    assert all(one.items() <= counters.items() for one in found)


async def test_nobody_there() -> None:
    """A port without a listener is unreachable."""
    async with agents({"gone": silent}) as urls:
        pass
    async with scraping(urls) as nodes:
        await until(lambda: nodes["gone"].failure is not None)

        assert ("unreachable", False) == (nodes["gone"].failure, nodes["gone"].up)


async def test_gzip_and_recovery() -> None:
    """A packed page is read; an agent that comes back is up again, and nothing of it was lost."""
    answers = [http(b"oops", status="503 Service Unavailable")]
    packed = http(gzip.compress(good_page()), "Content-Encoding: gzip")

    async def answer(writer: asyncio.StreamWriter) -> None:
        await says(answers.pop() if answers else packed)(writer)

    async with agents({"node": answer}) as urls, scraping(urls) as nodes:
        await until(lambda: nodes["node"].failures["http_status"] == 1)
        await until(lambda: nodes["node"].up)

        assert nodes["node"].failure is None
        assert nodes["node"].sample is not None


async def test_stops_at_once() -> None:
    """Stopping waits for no agent."""
    async with agents({"silent": silent}) as urls:
        async with scraping(urls) as nodes:
            await asyncio.sleep(0.3)
        assert nodes["silent"].failure in {None, "timeout"}
    with pytest.raises(StopIteration):
        next(task for task in asyncio.all_tasks() if task.get_name().startswith("scrape "))
