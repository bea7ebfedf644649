"""A real HTTP or HTTPS service on loopback that shows JSON documents by their paths."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

CERTIFICATE = Path(__file__).parents[2] / "data" / "tls" / "localhost.pem"

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]
Content = Mapping[str, Any] | list[Any] | bytes | int | Say
"""A document, the bytes of a body, the status of a refusal, or what writes the whole answer itself."""


class DocumentServer:
    """
    The service while it runs; `documents` may change, `asked` are the paths in the order of requests.

    Where `authorization` is set, every request must bear it.
    """

    def __init__(self, documents: Mapping[str, Content]) -> None:
        self.documents: dict[str, Content] = dict(documents)
        self.authorization = ""
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            self.asked.append(head.split(" ")[1])
            await self._say(self._content(head), writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _content(self, head: str) -> Content:
        if self.authorization and f"Authorization: {self.authorization}\r\n" not in head:
            return 401
        path = head.split(" ")[1]
        return self.documents.get(path, self.documents.get(path.partition("?")[0], 404))

    async def _say(self, content: Content, writer: asyncio.StreamWriter) -> None:
        if callable(content):
            await content(writer)
        elif isinstance(content, int):
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % content)
        else:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@asynccontextmanager
async def showing(documents: Mapping[str, Content], *, tls: bool = False) -> AsyncIterator[DocumentServer]:
    """Serve `documents` on a free port; TLS is with the certificate for localhost that is `CERTIFICATE`."""
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)
    server = DocumentServer(documents)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(server.answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


async def silence(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


async def dripping(writer: asyncio.StreamWriter) -> None:
    """A byte now and then: each of them in time, the whole far too late."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def flooding(writer: asyncio.StreamWriter) -> None:
    """A document of four megabytes."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n[")
    for _ in range(200):
        writer.write(b"0," * 10_000)
        await writer.drain()
