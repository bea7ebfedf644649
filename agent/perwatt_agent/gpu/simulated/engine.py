"""Simulated engine behind a real HTTP server, read like any other."""

import asyncio
import logging
from contextlib import suppress

from perwatt_agent.gpu.simulated.load import Load
from perwatt_agent.gpu.simulated.serving import Serving
from perwatt_agent.gpu.simulated.vllm_page import vllm_page

logger = logging.getLogger(__name__)

_REQUEST_TIMEOUT_SECONDS = 10.0


class SimulatedEngine:
    """
    An engine that serves on *gpus* GPUs under *load* and shows a page with vLLM's names at `url`.

    It listens on *host* from `start` to `close`; port 0 takes a free one.
    """

    def __init__(self, load: Load, *, gpus: int = 2, host: str = "127.0.0.1", port: int = 0) -> None:
        self._load = load
        self._serving = Serving(load, gpus)
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._answer, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        logger.info("simulated engine at %s", self.url)

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}/metrics"

    def page(self) -> bytes:
        """Return the page as it is now."""
        return vllm_page(self._serving.now(), self._load.started_unix_seconds)

    async def close(self) -> None:
        """Stop listening, and close all connections."""
        if self._server is None:
            return
        self._server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _REQUEST_TIMEOUT_SECONDS)
            writer.write(self._response(head))
            await asyncio.wait_for(writer.drain(), _REQUEST_TIMEOUT_SECONDS)
            writer.close()
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.TimeoutError):
            writer.transport.abort()  # not a valid request
        finally:
            self._connections.discard(writer)
            with suppress(OSError):
                await writer.wait_closed()

    def _response(self, head: bytes) -> bytes:
        if not head.startswith((b"GET /metrics ", b"GET /metrics?")):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        page = self.page()
        fields = (
            b"HTTP/1.1 200 OK",
            b"Content-Type: text/plain; version=0.0.4; charset=utf-8",
            b"Content-Length: %d" % len(page),
            b"Connection: close",
        )
        return b"\r\n".join([*fields, b"", page])
