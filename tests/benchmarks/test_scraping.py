"""The scraper of the benchmarks reads every framing that an exporter may answer in."""

import gzip
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from benchmarks.tools.scraping import Answer, Scraper, page

BODY = b"# TYPE power gauge\n" + b"".join(b'power{gpu="%d"} 400.5\n' % gpu for gpu in range(200))
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def chunked(body: bytes, size: int, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """A body in chunks of a size, as RFC 9112 7.1 frames it."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    return framed + b"0\r\n" + trailers + b"\r\n"


@contextmanager
def server(*answers: bytes) -> Iterator[int]:
    """A server of one connection that gives these answers in turn, a few bytes at a time; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, answers), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10.0)


def _serve(listening: socket.socket, answers: Sequence[bytes]) -> None:
    connection, _ = listening.accept()
    with connection:
        for answer in answers:
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                received += connection.recv(65_536)
            for at in range(0, len(answer), 1_000):
                connection.sendall(answer[at : at + 1_000])


PACKED = gzip.compress(BODY, mtime=0)
ANSWERS = {
    "length": (b"Content-Length: %d\r\n\r\n" % len(BODY), BODY),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", chunked(BODY, 2_048)),
    "one chunk": (b"Transfer-Encoding: chunked\r\n\r\n", chunked(BODY, len(BODY))),
    "extension and trailers": (
        b"Transfer-Encoding: chunked\r\n\r\n",
        chunked(BODY, 999, b";name=value", b"Expires: never\r\nX-Other: 1\r\n"),
    ),
    "packed chunks": (
        b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n",
        chunked(PACKED, 100),
    ),
    "until closed": (b"\r\n", BODY),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_framings(name: str) -> None:
    """The body is whole and unpacked, and every byte after the request is counted."""
    head, body = ANSWERS[name]
    with server(OK + head + body) as port:
        answer = page(port)
    assert BODY == answer.body
    assert len(OK + head + body) == answer.wire_bytes


@pytest.mark.parametrize("name", ["length", "chunks", "extension and trailers"])
async def test_connection_is_kept(name: str) -> None:
    """After a framed answer the next one comes over the same connection."""
    head, body = ANSWERS[name]
    with server(OK + head + body, OK + head + body) as port:
        scraper = Scraper(port)
        answers: list[Answer] = [await scraper.get(), await scraper.get()]
        scraper.close()
    assert [BODY, BODY] == [answer.body for answer in answers]


def test_cut_short() -> None:
    """Chunks without their end are no answer."""
    whole = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY, 500)
    with server(whole[:-7]) as port, pytest.raises(EOFError):
        page(port)
