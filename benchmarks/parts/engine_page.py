"""What reading an engine's page costs the agent: one vLLM page of 100 kB a second."""

import asyncio
import multiprocessing
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvloop
from support.agent.process import free_port

from benchmarks.peers.exporters import Exporter, perwatt, side_by_side
from benchmarks.tools.harness import MIB, Plan, measured, rss_bytes, wait_until
from benchmarks.tools.pages import engine_page_100k
from benchmarks.tools.report import Section, Target, table

SETTLE_SECONDS = 4.0
TOKENS_PER_SECOND = 1000.0
NO_EVENTS = b'{"items":[],"next":"0-0","schema_version":1}'
_TOKENS = re.compile(rb"^(vllm:generation_tokens_total\{[^}]*\}) \S+$", re.MULTILINE)


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """The plain agent and one that reads the page, over the same time."""
    version = exporters[0].version
    page = engine_page_100k()
    with served(lambda: growing(page)) as port:
        flag = f"url=http://127.0.0.1:{port}/metrics,engine=vllm,workload=chat"
        reading = perwatt(version, "--engine", flag, "--engines.interval", "1s", name="with the page")
        with side_by_side([perwatt(version, name="plain"), reading]) as all_running:
            time.sleep(SETTLE_SECONDS)
            with measured(*(running.pid for running in all_running)) as spans:
                time.sleep(plan.rest_seconds)
            rss = [rss_bytes(running.pid) for running in all_running]
    beyond = 100 * (spans[1].share - spans[0].share)
    rows = [
        (running.exporter.name, f"{100 * span.share:.3f}", f"{size / MIB:.1f}")
        for running, span, size in zip(all_running, spans, rss, strict=True)
    ]
    text = (
        f"A page of {len(page)} bytes, as vLLM 0.32.0 showed it, with the same series for a second engine "
        "core to fill it up, read every second; its tokens grow.\n\n"
        + table(("perwatt agent, 8 GPUs", "CPU, % of a core", "RSS, MiB"), rows)
    )
    targets = (
        Target("a vLLM page of 100 kB a second, CPU beyond the plain agent", 0.5, beyond, "% of a core"),
        Target("RSS with that page", 48, rss[1] / MIB, "MiB"),
    )
    return Section("What an engine's page costs", text, targets)


def growing(page: bytes) -> bytes:
    """The page with the tokens of an engine that has been at work all the time."""
    return _TOKENS.sub(rb"\g<1> %.1f" % (TOKENS_PER_SECOND * time.monotonic()), page)


@contextmanager
def served(*pages: Callable[[], bytes]) -> Iterator[int]:
    """
    Serve pages, made anew each time; page *n* at `/n/metrics`, the first one at `/metrics` too. Whoever asks
    for events is told that there are none.

    A process of its own does it: a thread would hold up whoever measures here.
    """
    port = free_port()
    server = multiprocessing.get_context("fork").Process(
        target=lambda: uvloop.run(_serve(pages, port)), daemon=True
    )
    server.start()
    wait_until(lambda: _listens(port))
    try:
        yield port
    finally:
        server.kill()
        server.join()


async def _serve(pages: Sequence[Callable[[], bytes]], port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                path = request.split(b" ", 2)[1].split(b"/")
                page = pages[int(path[1]) if path[1].isdigit() else 0]
                body = page() if path[-1] == b"metrics" else NO_EVENTS
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port) as listener:
        await listener.serve_forever()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
