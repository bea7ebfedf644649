"""Ask an ASGI application without a network."""

import json
from typing import Any, NamedTuple
from urllib.parse import quote


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: Any,
    target: str,
    method: str = "GET",
    *,
    body: bytes = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 1),
    **headers: str,
) -> Reply:
    """Ask for *target*, a path with or without a query, as *client*."""
    path, _, query = target.partition("?")
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")]
        + [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()],
        "client": client,
        "server": ("localhost", 80),
    }
    await app(scope, receive, send)
    head = messages[0]
    return Reply(
        head["status"],
        {name.decode(): value.decode() for name, value in head["headers"]},
        b"".join(message.get("body", b"") for message in messages[1:]),
    )
