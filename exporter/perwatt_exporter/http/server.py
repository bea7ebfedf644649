"""HTTP server of both daemons: uvicorn in the caller's loop, without its signals and ten ticks a second."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

from perwatt_exporter.http import fault_log
from perwatt_exporter.http.connection import LIMITS, Connection, Limits
from perwatt_exporter.http.request_cache import Repeats

Application = Callable[[Any, Any, Any], Awaitable[None]]


async def serve(
    app: Application, *sockets: socket.socket, stop: asyncio.Event, limits: Limits = LIMITS
) -> None:
    """
    Serve an ASGI application on listening sockets until `stop` is set; they are closed at the end.

    Requests in progress get `limits.shutdown_seconds` to finish, then their connections are dropped.
    """
    server = _Server(_config(app, limits), limits, stop)
    try:
        with fault_log.filtered():
            await server.serve(sockets=list(sockets))
    finally:
        server.drop_all()
        for sock in sockets:
            sock.close()


def _config(app: Application, limits: Limits) -> Config:
    return Config(
        app,
        http=type("LimitedConnection", (Connection,), {"limits": limits, "repeats": Repeats()}),
        ws="none",
        interface="asgi3",
        log_config=None,
        log_level="error",  # what clients do wrong is theirs, and would fill our log
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,  # it would have to be renewed every second
        workers=1,
        limit_concurrency=limits.connections + 1,
        timeout_keep_alive=limits.idle_seconds,
    )


class _Server(Server):
    def __init__(self, config: Config, limits: Limits, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._limits = limits
        self._stop = stop
        self.servers: list[asyncio.base_events.Server] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever owns the process."""
        yield

    async def main_loop(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._limits.sweep_seconds)
            for connection in self._connections():
                connection.sweep(_now())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is under way finish, but only so long."""
        for server in self.servers:
            server.close()
        for connection in self._connections():
            connection.shutdown()
        deadline = _now() + self._limits.shutdown_seconds
        while self.server_state.connections and _now() < deadline:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        self.drop_all()
        await self.lifespan.shutdown()

    def drop_all(self) -> None:
        """End every connection and every answer in progress now."""
        for server in self.servers:
            server.close()
        for connection in self._connections():
            connection.drop()
        for task in self.server_state.tasks:
            task.cancel()

    def _connections(self) -> tuple[Connection, ...]:
        return tuple(c for c in self.server_state.connections if isinstance(c, Connection))


def _now() -> float:
    return asyncio.get_running_loop().time()
