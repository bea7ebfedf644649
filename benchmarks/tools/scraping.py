"""Scrapers like Prometheus: keep-alive where the server allows it, gzip, a fixed beat, 10 s of patience."""

import asyncio
import gzip
import random
import time
from collections.abc import Iterable

import uvloop
from msgspec import Struct

TIMEOUT_SECONDS = 10.0
REQUEST = (
    b"GET /metrics HTTP/1.1\r\n"
    b"Host: 127.0.0.1\r\n"
    b"User-Agent: Prometheus/2.53.3\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0;q=0.5,"
    b"application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n"
    b"Accept-Encoding: gzip\r\n"
    b"X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
)


class Scrapes(Struct, frozen=True):
    """What scrapers met: seconds to each whole answer, and how often there was none."""

    seconds: list[float]
    failures: int


class Answer(Struct, frozen=True):
    """One page, unpacked, and the bytes of it that came over the wire."""

    body: bytes
    wire_bytes: int


class Scraper:
    """One scraper of one port; it reconnects when the server has closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, request: bytes = REQUEST) -> Answer:
        """Ask once. Raises OSError, EOFError or asyncio.TimeoutError when there is no whole answer."""
        try:
            return await asyncio.wait_for(self._get(request), TIMEOUT_SECONDS)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _get(self, request: bytes) -> Answer:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(head.partition(b"\r\n")[0].decode())
        chunked = b"chunked" in _header(head, b"transfer-encoding")
        length = _header(head, b"content-length")
        if chunked:
            body, size = await _chunks(self._reader)
        else:
            body = await (self._reader.readexactly(int(length)) if length else self._reader.read(-1))
            size = len(body)
        ends = not chunked and not length
        if ends or head.startswith(b"http/1.0") or _header(head, b"connection") == b"close":
            self.close()
        packed = _header(head, b"content-encoding")
        return Answer(gzip.decompress(body) if packed else body, len(head) + size)


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """The body of an answer in chunks (RFC 9112, 7.1), and its bytes on the wire: sizes and trailers, too."""
    chunks, wire_bytes = [], 0
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        wire_bytes += len(line) + size
        if not size:
            break
        chunks.append((await reader.readexactly(size + 2))[:-2])
        wire_bytes += 2
    while line != b"\r\n":
        line = await reader.readuntil(b"\r\n")
        wire_bytes += len(line)
    return b"".join(chunks), wire_bytes


def page(port: int) -> Answer:
    """Get one page, on a connection of its own."""

    async def once() -> Answer:
        scraper = Scraper(port)
        try:
            return await scraper.get()
        finally:
            scraper.close()

    return uvloop.run(once())


def scrape(ports: Iterable[int], scrapers: int, seconds: float, *, paced: bool = True) -> list[Scrapes]:
    """
    Let `scrapers` ask each port for some seconds, all ports at once.

    Paced ones ask every second, each at a phase of its own that is the same in every run; the others
    ask again as soon as they have their answer.
    """
    return uvloop.run(_scrape(tuple(ports), scrapers, seconds, paced=paced))


async def _scrape(ports: tuple[int, ...], scrapers: int, seconds: float, *, paced: bool) -> list[Scrapes]:
    every_seconds = 1.0 if paced else 0.0
    waiting = []
    for place in range(len(ports)):
        phases = random.Random(place)
        offsets = [phases.random() if paced else 0.0 for _ in range(scrapers)]
        waiting.append(_all([_follow(ports[place], offset, every_seconds, seconds) for offset in offsets]))
    return await asyncio.gather(*waiting)


async def _all(followers: "list[asyncio._CoroutineLike[Scrapes]]") -> Scrapes:
    heard = await asyncio.gather(*followers)
    return Scrapes([one for each in heard for one in each.seconds], sum(each.failures for each in heard))


async def _follow(port: int, offset: float, every_seconds: float, seconds: float) -> Scrapes:
    scraper = Scraper(port)
    begin = time.monotonic()
    due, took, failures = begin + offset, list[float](), 0
    while due < begin + seconds:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        started = time.monotonic()
        try:
            await scraper.get()
            took.append(time.monotonic() - started)
        except (OSError, EOFError, asyncio.TimeoutError):
            failures += 1
        due = max(due + every_seconds, time.monotonic())
    scraper.close()
    return Scrapes(took, failures)


def _header(head: bytes, name: bytes) -> bytes:
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""
