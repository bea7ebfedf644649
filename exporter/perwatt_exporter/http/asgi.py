"""Router and responses over ASGI: exact paths, small bodies that are ready."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PLAIN = "text/plain; charset=utf-8"
AGAIN = "perwatt.again"
"""The scope's extension that takes a response's `again`, where the server can use it."""


class Response(Struct, frozen=True):
    """
    A whole response; its length is added when it is sent.

    `again` answers the very same request at any later time; None where that has to be read anew.
    """

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    again: "Callable[[], Response] | None" = None


Handler = Callable[[Scope], Response]


class PostRoute(Struct, frozen=True):
    """
    A path that takes bodies of at most `max_bytes`.

    `handle` gets None where the body was larger, or was not sent to its end; `refuse_method` answers
    whoever asks with anything but POST.
    """

    handle: Callable[[Scope, bytes | None], Response]
    refuse_method: Handler
    max_bytes: int


def plain(status: int, line: str, *headers: tuple[bytes, bytes]) -> Response:
    """Answer with one line of plain text."""
    return Response(status, PLAIN, f"{line}\n".encode(), headers)


def header(scope: Scope, name: bytes) -> str:
    """Return a request header; one that came several times is one list, one that did not come is empty."""
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def head_of(response: Response) -> list[tuple[bytes, bytes]]:
    """The headers with which a response is sent."""
    return [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode("ascii")),
        *response.headers,
    ]


async def send_response(send: Send, response: Response) -> None:
    """Send a response; for HEAD the server drops the body and keeps its length."""
    headers = head_of(response)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def read_body(receive: Receive, max_bytes: int) -> bytes | None:
    """Return a request's body; None as soon as it is larger than *max_bytes*, or its client is gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > max_bytes:
            return None
        if not message.get("more_body", False):
            return bytes(body)


class Router:
    """An ASGI application of exact paths: *routes* for GET and HEAD, *posts* for POST."""

    def __init__(
        self, routes: Mapping[str, Handler], posts: Mapping[str, PostRoute] = MappingProxyType({})
    ) -> None:
        self._routes = dict(routes)
        self._posts = dict(posts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            post = self._posts.get(scope["path"])
            response = self._answer(scope) if post is None else await _posted(post, scope, receive)
            learn = scope.get("extensions", {}).get(AGAIN)
            if learn is not None and response.again is not None:
                learn(response.again)
            await send_response(send, response)

    def _answer(self, scope: Scope) -> Response:
        handler = self._routes.get(scope["path"])
        if handler is None:
            return plain(404, f"There is nothing here; try {', '.join(self._routes)}.")
        if scope["method"] not in ("GET", "HEAD"):
            return plain(405, "Only GET and HEAD are answered here.", (b"allow", b"GET, HEAD"))
        return handler(scope)


async def _posted(route: PostRoute, scope: Scope, receive: Receive) -> Response:
    if scope["method"] != "POST":
        return route.refuse_method(scope)
    return route.handle(scope, await read_body(receive, route.max_bytes))


async def _live(receive: Receive, send: Send) -> None:
    """Acknowledge the server's start and stop: there is nothing to open and nothing to close."""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return
