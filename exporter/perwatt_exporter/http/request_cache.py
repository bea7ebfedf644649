"""Cache of requests by their bytes: a repeated request is answered without parsing it again."""

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from perwatt_exporter.http.asgi import Response, head_of

MAX_REQUESTS = 64
MAX_BYTES = 4096

Again = Callable[[], Response]
"""Answers once more what was asked before."""


class Repeats:
    """
    What whole requests asked for, by their bytes.

    A scraper sends the same request for ever, and reading it costs as much as a page of which nothing has
    changed. Only the application knows which requests mean the same at any time.
    """

    def __init__(self) -> None:
        self._answers: dict[bytes, Again] = {}

    def learn(self, request: bytes, again: Again) -> None:
        if len(request) <= MAX_BYTES:
            # Those who ask something else each time make everybody's requests be read again, no more.
            if len(self._answers) >= MAX_REQUESTS:
                self._answers.clear()
            self._answers[request] = again

    def find(self, data: bytes) -> Again | None:
        return self._answers.get(data) if len(data) <= MAX_BYTES else None


def written(response: Response) -> bytes:
    """A whole answer that keeps the connection, as uvicorn writes it."""
    lines = [b"%b: %b\r\n" % header for header in head_of(response)]
    return b"".join((STATUS_LINE[response.status], *lines, b"\r\n", response.body))
