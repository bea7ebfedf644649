"""A real server on loopback, and a client that shows what came over the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from perwatt_exporter.http.connection import LIMITS, Limits
from perwatt_exporter.http.listen import bind
from perwatt_exporter.http.server import Application, serve

PATIENCE_SECONDS = 60.0
"""How long a test waits for what must happen; long, because machines are slow at times."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.asynccontextmanager
async def serving(app: Application, limits: Limits = LIMITS) -> AsyncIterator[int]:
    """Serve an application on a free port of loopback; gives the port."""
    sock = bind("127.0.0.1:0")
    port: int = sock.getsockname()[1]
    stop = asyncio.Event()
    task = asyncio.ensure_future(serve(app, sock, stop=stop, limits=limits))
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


def request(path: str, method: str = "GET", **headers: str) -> bytes:
    """Write a request; `Accept_Encoding="gzip"` is a header."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def fetch(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask once, on a connection of its own, and read to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(path, method, Connection="close", **headers))
    try:
        return parse(await asyncio.wait_for(reader.read(), PATIENCE_SECONDS))
    finally:
        writer.close()


def parse(answer: bytes) -> Answer:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(status.split()[1]), headers, body)


async def dropped(reader: asyncio.StreamReader) -> bytes:
    """Wait until the server ends a connection; gives what it sent."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65_536), PATIENCE_SECONDS):
            received += chunk
    return bytes(received)
