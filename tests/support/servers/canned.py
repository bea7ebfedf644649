"""A small HTTP server on loopback that gives prepared answers and remembers what it was asked."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Canned(NamedTuple):
    body: bytes
    status: int = 200
    content_type: str = "application/json"


class CannedServer(NamedTuple):
    url: str
    asked: list[str]
    headers: list[dict[str, str]]


@contextlib.contextmanager
def canned_server(answers: Mapping[str, Canned]) -> Iterator[CannedServer]:
    """Serve `answers` by path, without its query; all else is 404."""
    asked: list[str] = []
    headers: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = answers.get(self.path.partition("?")[0], Canned(b"", 404))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            """Say nothing: what was asked is in `asked`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield CannedServer(f"http://127.0.0.1:{server.server_port}", asked, headers)
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def redirecting(target: str) -> Iterator[str]:
    """A server that sends everybody elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
