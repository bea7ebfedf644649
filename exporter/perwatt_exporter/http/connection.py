"""Connection of one client, with limits on what it may send and on how long the server waits for it."""

import contextlib
import socket
import struct
from typing import Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perwatt_exporter.http.asgi import AGAIN, Response
from perwatt_exporter.http.request_cache import Again, Repeats, written

TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Limits(Struct, frozen=True):
    """
    What clients may do to the server.

    A connection beyond `connections` ends those that are idle longest, if they are idle for
    `spared_seconds`. Otherwise its requests get 503, except for HEALTH_PATHS. A connection beyond
    `connections + spare_connections` ends the one that is idle longest in any case: however many clients
    hold connections, a new one is answered.

    A client that owes us something, the rest of a request or reading its answer, is dropped after
    `patience_seconds`, looked for every `sweep_seconds`. `idle_seconds` is how long a connection is kept for
    the next request: above the usual scrape interval, so that scrapers need not reconnect.
    """

    connections: int = 512
    spare_connections: int = 128
    spared_seconds: float = 1.0
    head_bytes: int = 32_768
    patience_seconds: float = 30.0
    sweep_seconds: float = 10.0
    idle_seconds: int = 75
    shutdown_seconds: float = 1.0


LIMITS = Limits()
HEALTH_PATHS = frozenset((b"/-/healthy", b"/-/ready"))
_FIRST_REQUEST = object()


class HeadTooLarge(Exception):
    """What has been read of a head, or of the trailers of a body, is more than we take."""


class Connection(HttpToolsProtocol):
    """
    uvicorn's connection with bounds on what uvicorn leaves open, and a short way for requests that came
    before; `repeats` are those of all connections.
    """

    limits = LIMITS
    repeats: Repeats

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0  # received since the last head was complete
        self._parsed_bytes = 0  # of this request's head and trailers, as they are understood
        self._in_body = False
        self._running: Any = None  # the exchange that is being answered
        self._between_requests = True
        self._whole_request: bytes | None = None
        self._begun = 0  # requests in what was received last
        self._known_debt: object = _FIRST_REQUEST
        self._known_since = self.loop.time()
        self._idle_since = self._known_since  # the end of its last request, or its start

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn marks only the newest of several pipelined requests: the one that is being answered would
        # write on, to a connection that is gone, and fail.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
        self.pipeline.clear()
        super().connection_lost(exc)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def _make_room(self) -> None:
        """End the other connections that are idle longest, where there are too many."""
        connections: set[Any] = self.connections
        others = [one for one in connections if one is not self and not one.transport.is_closing()]
        excess = len(others) + 1 - self.limits.connections
        if excess <= 0:
            return
        others.sort(key=lambda one: one.idle_since)
        idle_before = self.loop.time() - self.limits.spared_seconds
        beyond_spare = excess - self.limits.spare_connections
        for place, longest in enumerate(others[:excess]):
            if place < beyond_spare or longest.idle_since <= idle_before:
                longest.drop()

    @property
    def idle_since(self) -> float:
        """The instant of its last whole request, or of its start."""
        return self._idle_since

    def data_received(self, data: bytes) -> None:
        rests = self._rests()
        again = self.repeats.find(data) if rests else None
        if again is not None:
            self._repeat(again())
            return
        self._whole_request, self._begun = data if rests else None, 0
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self.limits.head_bytes and not self.transport.is_closing():
            self._refuse_head()

    def _rests(self) -> bool:
        """Whether all that was asked is answered and on its way, and nothing of the next request is here."""
        cycle: Any = self.cycle  # None before the first request
        return (
            cycle is not None
            and cycle.response_complete
            and self._between_requests
            and self.transport.get_write_buffer_size() == 0
            and not self.transport.is_closing()
            and len(self.connections) <= self.limits.connections
        )

    def _learn(self, again: Again) -> None:
        """Take note of how to answer the request that is under way, if it came alone and in one piece."""
        request, cycle = self._whole_request, self.cycle
        if request is None or self._begun != 1 or not request.endswith(b"\r\n\r\n") or cycle.more_body:
            return
        if cycle.scope["method"] == "GET" and cycle.keep_alive and not self.parser.should_upgrade():
            self.repeats.learn(request, again)

    def _repeat(self, response: Response) -> None:
        self._unset_keepalive_if_required()
        self._idle_since = self.loop.time()
        self.transport.write(written(response))
        self.on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self._parsed_bytes > self.limits.head_bytes:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        self._parsed_bytes = 0
        super().on_message_begin()
        self._begun += 1
        self._between_requests = False
        scope: Any = self.scope
        scope["extensions"] = {AGAIN: self._learn}

    def on_url(self, url: bytes) -> None:
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._take(len(name) + len(value))
        super().on_header(name, value)

    def _take(self, size: int) -> None:
        """Count what a request keeps; the parser stops at what is raised here, and asks for a response."""
        self._parsed_bytes += size
        if self._parsed_bytes > self.limits.head_bytes:
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._head_bytes = 0
        if self.url.partition(b"?")[0] in HEALTH_PATHS:
            self.limit_concurrency = None
        super().on_headers_complete()
        self.limit_concurrency = self.config.limit_concurrency

    def on_message_complete(self) -> None:
        self._in_body = False
        self._between_requests = True
        self._idle_since = self.loop.time()
        super().on_message_complete()

    def _refuse_head(self) -> None:
        self.transport.write(TOO_LARGE)
        self.transport.close()

    def sweep(self, now: float) -> None:
        """Drop the client if it has owed us the same thing for too long."""
        debt = self._debt()
        if debt is not self._known_debt:
            self._known_debt, self._known_since = debt, now
        elif debt is not None and now - self._known_since >= self.limits.patience_seconds:
            self.drop()

    def drop(self) -> None:
        """End the connection now, and free what waits for the client in the kernel too."""
        with contextlib.suppress(OSError):
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _debt(self) -> object:
        """What the client owes: its first request, the end of an exchange, or nothing (None)."""
        cycle: Any = self.cycle  # None before the first request
        if cycle is None:
            return _FIRST_REQUEST
        if self.transport.get_write_buffer_size() > 0:
            return cycle
        if not cycle.response_complete:
            return cycle if cycle.more_body else None
        # uvicorn waits for the next request with a timer; data that is not yet a request ends the timer.
        return cycle if self.timeout_keep_alive_task is None else None
