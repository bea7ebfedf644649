"""A real server on loopback, and clients that mean it well, badly, or nothing at all."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from support.exposition.pages import healthy_8_gpus
from support.servers.web import PATIENCE_SECONDS, Answer, dropped, fetch, parse, request, serving

from perwatt_exporter.app import exporter_app
from perwatt_exporter.http.asgi import PLAIN, Receive, Response, Router, Scope, Send, plain, send_response
from perwatt_exporter.http.connection import Limits
from perwatt_exporter.http.listen import bind
from perwatt_exporter.http.server import serve

SNAPSHOT = healthy_8_gpus()
IMPATIENT = Limits(patience_seconds=0.5, sweep_seconds=0.1)
# More than the kernel takes off a server's hands for a client that does not read.
BIG_BODY = b"x" * 32_000_000
BIG = Router({"/big": lambda _: Response(200, PLAIN, BIG_BODY)})

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on each kind of loop that the server must stand on."""
    loop = request.param()
    yield loop.run_until_complete
    loop.close()


def app() -> Router:
    return exporter_app(lambda: SNAPSHOT)


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send a piece again and again until the other end has gone."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)


async def read_bytewise(client: socket.socket) -> int:
    """Read a byte at a time until the connection fails; gives the error's number."""
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if error := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return error
        client.recv(1)
        await asyncio.sleep(0.02)
    return 0


class TestServe:
    def test_200_at_once(self, run: Run) -> None:
        """Two hundred scrapers at once are all served the whole page."""

        async def scenario() -> list[Answer]:
            async with serving(app()) as port:
                return await asyncio.gather(*(fetch(port, "/metrics") for _ in range(200)))

        answers = run(scenario())

        assert {200} == {answer.status for answer in answers}
        assert 200 == sum(len(answer.body) == int(answer.headers["content-length"]) for answer in answers)

    @pytest.mark.slow
    def test_connection_is_kept(self, run: Run) -> None:
        """A scraper's next request may use the same connection, however often the server has swept."""

        async def scenario() -> list[bytes]:
            async with serving(app(), IMPATIENT) as port:
                reader, writer = await connect(port)
                bodies = []
                for _ in range(3):
                    writer.write(request("/-/healthy"))
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(parse(head).headers["content-length"])
                    bodies.append(await reader.readexactly(length))
                    await asyncio.sleep(2 * IMPATIENT.patience_seconds)
                writer.close()
                return bodies

        assert [b"perwatt is healthy.\n"] * 3 == run(scenario())

    def test_no_headers_that_age_or_boast(self, run: Run) -> None:
        """Answers carry neither the server's name nor a date that would need a timer."""

        async def scenario() -> Answer:
            async with serving(app()) as port:
                return await fetch(port, "/-/ready")

        assert {"server", "date"}.isdisjoint(run(scenario()).headers)

    def test_stop_closes_the_socket(self, run: Run) -> None:
        """After the stop the port is free again."""

        async def scenario() -> int:
            async with serving(app()) as port:
                pass
            return port

        port = run(scenario())

        bind(f"127.0.0.1:{port}").close()

    @pytest.mark.parametrize("begun", [b"", b"GET /metr", request("/big")])
    def test_stop_whatever_clients_do(self, run: Run, begun: bytes) -> None:
        """A stop does not wait for clients that never finish."""

        async def scenario() -> None:
            async with serving(BIG, Limits(shutdown_seconds=0.1)) as port:
                _, writer = await connect(port)
                writer.write(begun)
                await asyncio.sleep(0.1)
            writer.close()

        run(scenario())

    def test_cancelled(self, run: Run) -> None:
        """Cancelling the server frees its port and drops its clients, like any stop."""

        async def scenario() -> int:
            sock = bind("127.0.0.1:0")
            port: int = sock.getsockname()[1]
            task = asyncio.ensure_future(serve(app(), sock, stop=asyncio.Event()))
            reader, writer = await connect(port)
            writer.write(request("/-/ready"))
            await reader.readuntil(b"ready.\n")
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert b"" == await dropped(reader)
            writer.close()
            for left in asyncio.all_tasks() - {asyncio.current_task()}:
                left.cancel()
            return port

        bind(f"127.0.0.1:{run(scenario())}").close()


class TestHostileClients:
    @pytest.mark.parametrize(
        "piece",
        [
            pytest.param(b"", id="sends nothing"),
            pytest.param(b"G", id="drips a method"),
            pytest.param(b"GET /metrics HTTP/1.1\r\nX: y\r\n", id="drips headers"),
            pytest.param(b"\r\n", id="drips empty lines"),
            pytest.param(b"\x16\x03\x01\x02\x00 rubbish \xff\r\n\r\n", id="sends rubbish"),
        ],
    )
    def test_never_a_request(self, run: Run, piece: bytes) -> None:
        """A client that never finishes its first request is dropped, and others are served meanwhile."""

        async def scenario() -> Answer:
            async with serving(app(), IMPATIENT) as port:
                reader, writer = await connect(port)
                dripping = asyncio.ensure_future(drip(writer, piece))
                answer = await fetch(port, "/metrics")
                await dropped(reader)
                dripping.cancel()
                writer.close()
                return answer

        assert 200 == run(scenario()).status

    @pytest.mark.parametrize("piece", [b"\r\n", b"x"])
    def test_drips_after_a_request(self, run: Run, piece: bytes) -> None:
        """A client that was served once and then drips is dropped too."""

        async def scenario() -> bytes:
            async with serving(app(), IMPATIENT) as port:
                reader, writer = await connect(port)
                writer.write(request("/-/healthy"))
                await reader.readuntil(b"healthy.\n")
                dripping = asyncio.ensure_future(drip(writer, piece))
                rest = await dropped(reader)
                dripping.cancel()
                writer.close()
                return rest

        assert b"200 OK" not in run(scenario())

    def test_body_that_never_ends(self, run: Run) -> None:
        """A body that nobody asked for may not keep the connection for ever."""

        async def scenario() -> bytes:
            async with serving(app(), IMPATIENT) as port:
                reader, writer = await connect(port)
                writer.write(request("/metrics", "POST", Content_Length="1000000"))
                dripping = asyncio.ensure_future(drip(writer, b"x"))
                answer = await dropped(reader)
                dripping.cancel()
                writer.close()
                return answer

        assert 405 == parse(run(scenario())).status

    @pytest.mark.parametrize("connection", ["close", "keep-alive"])
    def test_reads_a_byte_at_a_time(self, run: Run, connection: str) -> None:
        """A client that hardly takes its answer is dropped, and others are served meanwhile."""

        async def scenario() -> tuple[Answer, int]:
            async with serving(BIG, IMPATIENT) as port:
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(request("/big", Connection=connection))
                    answer = await fetch(port, "/big")
                    return answer, await read_bytewise(client)

        answer, error = run(scenario())

        assert (len(BIG_BODY), errno.ECONNRESET) == (len(answer.body), error)

    def test_endless_head(self, run: Run) -> None:
        """A head without end is refused before it can fill the memory."""

        async def scenario() -> bytes:
            async with serving(app()) as port:
                reader, writer = await connect(port)
                writer.write(b"GET / HTTP/1.1\r\n")
                for _ in range(40):
                    writer.write(b"X-Padding: " + b"x" * 1_000 + b"\r\n")
                answer = await reader.readuntil(b"\r\n\r\n")
                writer.close()
                return answer

        assert run(scenario()).startswith(b"HTTP/1.1 431 ")

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET / HTTP/1.1\r\nX-Padding: " + b"x" * 40_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: yyyyyyyy\r\n" * 4_000 + b"\r\n",
            b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            + b"X: yyyyyyyy\r\n" * 4_000
            + b"\r\n",
        ],
        ids=["a header", "headers", "a path", "trailers"],
    )
    def test_large_head_at_once(self, run: Run, sent: bytes) -> None:
        """A head is not too large for being sent in pieces: one that comes whole is refused as well."""

        async def scenario() -> bytes:
            async with serving(app()) as port:
                reader, writer = await connect(port)
                writer.write(sent)
                answer = await reader.read()
                writer.close()
                return answer

        assert b"HTTP/1.1 431 " in run(scenario())

    def test_large_body_behind_a_small_head(self, run: Run) -> None:
        """What is no head is not counted as one."""

        async def scenario() -> bytes:
            async with serving(app()) as port:
                reader, writer = await connect(port)
                head = b"GET / HTTP/1.1\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n"
                writer.write(head + b"x" * 60_000)
                answer = await reader.read()
                writer.close()
                return answer

        assert run(scenario()).startswith(b"HTTP/1.1 200 ")

    def test_too_many_connections(self, run: Run) -> None:
        """A request beyond the limit is told so; when the others have gone, all is well again."""

        async def scenario() -> tuple[Answer, Answer]:
            async with serving(app(), Limits(connections=3, patience_seconds=0.5, sweep_seconds=0.1)) as port:
                idle = [await connect(port) for _ in range(3)]
                refused = await fetch(port, "/metrics")
                for reader, writer in idle:
                    await dropped(reader)
                    writer.close()
                return refused, await fetch(port, "/metrics")

        refused, served = run(scenario())

        assert (503, 200) == (refused.status, served.status)

    def test_far_too_many_connections(self, run: Run) -> None:
        """Connections beyond what is spared for refusals end the one that is idle longest."""

        async def scenario() -> tuple[bytes, int]:
            async with serving(app(), Limits(connections=2, spare_connections=1)) as port:
                idle = [await connect(port) for _ in range(3)]
                newest = await fetch(port, "/-/healthy")
                rest = await dropped(idle[0][0])
                for _, writer in idle:
                    writer.close()
                return rest, newest.status

        assert (b"", 200) == run(scenario())

    @pytest.mark.parametrize("begun", [b"", b"GET /metr", request("/-/ready"), request("/metrics")])
    @pytest.mark.parametrize("held", [4, 5, 6, 20])
    def test_held_connections_silence_nobody(self, run: Run, held: int, begun: bytes) -> None:
        """Whatever clients send and hold, health is answered at once, and all else after a short while."""
        limits = Limits(connections=4, spare_connections=2, spared_seconds=0.2)

        async def scenario() -> tuple[list[int], int]:
            async with serving(app(), limits) as port:
                writers = []
                for _ in range(held):
                    _, writer = await connect(port)
                    writer.write(begun)
                    writers.append(writer)
                health = [(await fetch(port, path)).status for path in ("/-/healthy", "/-/ready?a=b")]
                await asyncio.sleep(2 * limits.spared_seconds)
                page = await fetch(port, "/metrics")
                for writer in writers:
                    writer.close()
                return health, page.status

        assert ([200, 200], 200) == run(scenario())

    @pytest.mark.slow
    def test_a_scraper_among_drippers(self, run: Run) -> None:
        """Those who never finish a request lose their connections before a scraper that asks often."""
        limits = Limits(connections=4, spare_connections=2, spared_seconds=0.1)

        async def scenario() -> list[bytes]:
            async with serving(app(), limits) as port:
                reader, writer = await connect(port)
                drips, heads = [], []
                for _ in range(12):
                    _, dripping = await connect(port)
                    drips.append(asyncio.create_task(drip(dripping, b"G")))
                    writer.write(request("/-/ready"))
                    heads.append((await reader.readuntil(b"ready.\n"))[:12])
                    await asyncio.sleep(limits.spared_seconds)
                writer.close()
                for task in drips:
                    task.cancel()
                return heads

        assert [b"HTTP/1.1 200"] * 12 == run(scenario())

    @pytest.mark.slow
    @pytest.mark.parametrize("pipelined", [1, 3])
    def test_who_never_reads_is_not_logged(
        self, run: Run, caplog: pytest.LogCaptureFixture, pipelined: int
    ) -> None:
        """Clients that ask and never read are dropped, and leave nothing in the log."""

        async def scenario() -> None:
            async with serving(BIG, IMPATIENT) as port:
                for _ in range(3):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
                    writer.write(request("/big") * pipelined)
                    await asyncio.sleep(0.1)
                    if pipelined == 1:
                        await asyncio.sleep(2 * IMPATIENT.patience_seconds)
                    writer.transport.abort()
                    assert not reader.at_eof()
                await asyncio.sleep(0.3)

        run(scenario())

        assert [] == caplog.records

    def test_each_fault_once(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        """A fault that can be provoked for ever has one traceback, then a count."""

        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                raise (ValueError if scope["path"] == "/other" else RuntimeError)("a mistake")
            await send_response(send, plain(200, ""))

        async def scenario() -> None:
            async with serving(broken) as port:
                for path in ["/"] * 25 + ["/other"]:
                    assert 500 == (await fetch(port, path)).status

        run(scenario())

        shown = [
            (record.exc_info is not None, "10 times" in record.getMessage()) for record in caplog.records
        ]
        assert [(True, False), (False, True), (True, False)] == shown

    def test_failing_application(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        """A mistake in the application is answered by 500, and logged."""

        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                raise RuntimeError("a mistake")
            await send_response(send, plain(200, ""))

        async def scenario() -> Answer:
            async with serving(broken) as port:
                return await fetch(port, "/")

        assert 500 == run(scenario()).status
        assert "a mistake" in caplog.text
