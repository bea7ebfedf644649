"""A fetch brings the page or one reason, within its bounds, and leaves nothing behind."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from support.engines.engine_pages import engine_page

from perwatt_agent.net.http_client import FETCH_REASONS, FetchError, Target, fetch

CERTIFICATE = Path(__file__).parents[2] / "data" / "tls" / "localhost.pem"
PAGE = engine_page("vllm-0.32.0-4-after")

Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server on loopback that answers every request by *handler*, and knows who is connected."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.all_gone = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            await self._handler(writer)
            await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            self.all_gone.set()


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(handler)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/metrics?format=text"
    yield server
    if server.requests:
        await asyncio.wait_for(server.all_gone.wait(), 30)
    listener.close()
    await listener.wait_closed()


def sends(*parts: bytes, close: bool = False) -> Handler:
    async def handler(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()

    return handler


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def chunked(body: bytes, size: int = 5000) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


async def never(writer: asyncio.StreamWriter) -> None:
    """Say nothing, for ever."""


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"up 1\n" * 1000)
        await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: more\r\n" * 1000)
        await writer.drain()


async def get(url: str, timeout_seconds: float = 30, **options: Any) -> bytes:
    return await fetch(url, timeout_seconds=timeout_seconds, **options)


class TestAnswers:
    @pytest.mark.parametrize(
        "handler",
        [
            pytest.param(sends(answer(PAGE)), id="length"),
            pytest.param(sends(chunked(PAGE)), id="chunked"),
            pytest.param(sends(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE, close=True), id="until-close"),
            pytest.param(sends(answer(gzip.compress(PAGE), b"Content-Encoding: gzip")), id="gzip"),
            pytest.param(
                sends(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(PAGE), close=True),
                id="gzip-until-close",
            ),
            pytest.param(
                sends(*(bytes([byte]) for byte in answer(PAGE)[:60]), answer(PAGE)[60:]), id="dribble"
            ),
            pytest.param(sends(answer(PAGE) + answer(b"uninvited 1\n")), id="pipelined"),
        ],
    )
    async def test_page(self, handler: Handler) -> None:
        """However a server frames and encodes the page, its bytes arrive."""
        async with serving(handler) as server:
            assert await get(server.url) == PAGE

    async def test_request(self) -> None:
        """The request names path, query, host and token, and asks the server to hang up."""
        async with serving(sends(answer(b""))) as server:
            assert await get(server.url, bearer_token="s3cret", headers={"Accept": "text/plain"}) == b""

        request = server.requests[0].decode().split("\r\n")

        assert request[0] == "GET /metrics?format=text HTTP/1.1"
        assert {"Authorization: Bearer s3cret", "Accept: text/plain", "Connection: close"} < set(request)
        assert f"Host: {server.url.split('/')[2]}" in request

    async def test_tls(self) -> None:
        """A server whose certificate is trusted is read over TLS."""
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(CERTIFICATE)
        async with serving(sends(answer(PAGE)), own) as server:
            assert await get(server.url, tls_context=ssl.create_default_context(cafile=CERTIFICATE)) == PAGE

    def test_uvloop(self) -> None:
        """uvloop, on which `perwatt up` runs, serves as well as asyncio's own loop."""

        async def main() -> bytes:
            async with serving(sends(answer(PAGE))) as server:
                return await get(server.url)

        loop = uvloop.new_event_loop()

        assert loop.run_until_complete(main()) == PAGE
        loop.close()


class TestFailures:
    @pytest.mark.parametrize(
        ("handler", "reason"),
        [
            (sends(answer(b"", b"Location: http://other/", status=b"302 Found")), "redirect"),
            (sends(answer(b"busy", status=b"503 Service Unavailable")), "status"),
            (sends(answer(b"", status=b"204 No Content")), "status"),
            (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol"),
            (sends(answer(PAGE)[:-1000], close=True), "protocol"),
            (sends(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE[:-4], close=True), "protocol"),
            (sends(chunked(PAGE)[:-1000], close=True), "protocol"),
            (sends(close=True), "protocol"),
            (sends(answer(gzip.compress(PAGE)[:-100], b"Content-Encoding: gzip")), "protocol"),
            (sends(answer(PAGE, b"Content-Encoding: gzip")), "protocol"),
            (sends(answer(PAGE, b"Content-Encoding: br")), "protocol"),
            (endless_head, "protocol"),
            (endless, "too_large"),
            (sends(answer(b"up 1\n" * 21_000)), "too_large"),
            (sends(answer(gzip.compress(b"\n" * 10_000_000), b"Content-Encoding: gzip")), "too_large"),
        ],
    )
    async def test_bad_answers(self, handler: Handler, reason: str) -> None:
        """What is not a whole page within the bounds is one of the documented reasons."""
        async with serving(handler) as server:
            with pytest.raises(FetchError) as failure:
                await get(server.url, max_bytes=100_000)

        assert reason == failure.value.reason
        assert reason in FETCH_REASONS
        assert 1 == len(server.requests)

    async def test_timeout(self) -> None:
        """The deadline holds for a server that accepts and says nothing."""
        async with serving(never) as server:
            with pytest.raises(FetchError) as failure:
                await get(server.url, timeout_seconds=0.05)

        assert "timeout" == failure.value.reason

    async def test_refused(self) -> None:
        """A port that nobody listens on is named as such, also where a name has two addresses."""
        async with serving(never) as server:
            port = Target.of(server.url).port
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(FetchError) as failure:
                await get(f"http://{host}:{port}/metrics")

            assert "refused" == failure.value.reason

    async def test_untrusted(self) -> None:
        """A server whose certificate nobody vouches for is not talked to."""
        own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.load_cert_chain(CERTIFICATE)
        async with serving(never, own) as server:
            with pytest.raises(FetchError) as failure:
                await get(server.url)

        assert "tls" == failure.value.reason
        assert [] == server.requests


class TestNothingLeft:
    async def test_tasks(self) -> None:
        """After success, failure and timeout no task of the fetch remains, and its socket is closed."""
        before = asyncio.all_tasks()
        for handler in (sends(answer(PAGE)), endless, never):
            async with serving(handler) as server:  # leaving waits until the server saw us go
                try:
                    await get(server.url, timeout_seconds=0.5, max_bytes=100_000)
                except FetchError:
                    continue

        assert before == asyncio.all_tasks()

    async def test_cancelled(self) -> None:
        """A fetch that is cancelled closes its connection too."""
        async with serving(never) as server:
            task = asyncio.create_task(get(server.url))
            await server.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


class TestTarget:
    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("http://gpu1/metrics", Target(False, "gpu1", 80, "/metrics")),
            ("https://gpu1:8443", Target(True, "gpu1", 8443, "/")),
            ("http://[::1]:8000/metrics?model=a#b", Target(False, "::1", 8000, "/metrics?model=a")),
        ],
    )
    def test_parts(self, url: str, target: Target) -> None:
        """A URL is taken apart with the defaults of its scheme."""
        assert target == Target.of(url)

    @pytest.mark.parametrize(
        "url",
        [
            "gpu1:8000/metrics",
            "ftp://gpu1/metrics",
            "http:///metrics",
            "http://me:secret@gpu1/metrics",
            "http://gpu1:99999/",
            "http://gpu1/a b",
        ],
    )
    def test_refused(self, url: str) -> None:
        """What cannot be fetched is refused before anything is sent."""
        with pytest.raises(ValueError):
            Target.of(url)

    async def test_header_injection(self) -> None:
        """A token with a line end in it never reaches the wire."""
        with pytest.raises(ValueError):
            await get("http://127.0.0.1:9/", bearer_token="a\r\nHost: other")
