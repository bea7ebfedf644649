"""
HTTP client: fetches one page, with limits on time and size.

It uses asyncio streams and the parser of httptools. It follows no redirects and retries nothing.
"""

import asyncio
import socket
import ssl
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

import httptools
from msgspec import Struct

from perwatt_agent.configfile.printable import without_secrets
from perwatt_agent.net.failures import reasons

FETCH_REASONS = reasons(
    "resolve",
    "refused",
    "tls",
    "timeout",
    "redirect",
    "status",
    "too_large",
    "protocol",
)

_READ_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_FRAMING_BYTES = 1024 * 1024  # chunk sizes and trailers, beyond the body itself
_PORTS = {"http": 80, "https": 443}


class FetchError(Exception):
    """
    The page could not be fetched; `reason` is one of FETCH_REASONS.

    `status` is the HTTP status if it is not 200, else 0. `location` is where a redirect leads, as the server
    wrote it.
    """

    def __init__(self, reason: str, message: str, status: int = 0, location: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.location = location


class Target(Struct, frozen=True):
    """Parts of an http or https URL."""

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Split *url* into its parts. Raises ValueError if it cannot be fetched."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// or https:// URL")
        if parts.username is not None:
            raise ValueError("credentials do not belong in a URL; use a bearer token file")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not path.isascii() or " " in path:
            raise ValueError(f"{without_secrets(url)!r} has characters that must be percent-encoded")
        return cls(parts.scheme == "https", parts.hostname, parts.port or _PORTS[parts.scheme], path)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


async def fetch(
    target: Target | str,
    *,
    timeout_seconds: float,
    max_bytes: int = 8 * 1024 * 1024,
    headers: Mapping[str, str] | None = None,
    bearer_token: str | None = None,
    tls_context: ssl.SSLContext | None = None,
) -> bytes:
    """
    Send a GET and return the body of a 200 answer, decompressed.

    *timeout_seconds* covers everything from the name look-up to the last byte. *max_bytes* limits the body
    before and after decompression. By default *tls_context* trusts the system's certificates. Raises
    FetchError, and ValueError for a bad URL or header. The connection is always closed.
    """
    target = Target.of(target) if isinstance(target, str) else target
    request = _request(target, headers or {}, bearer_token)
    try:
        return await asyncio.wait_for(_exchange(target, request, max_bytes, tls_context), timeout_seconds)
    except asyncio.TimeoutError:
        raise FetchError("timeout", f"no complete answer within {timeout_seconds:g} s") from None


def _request(target: Target, headers: Mapping[str, str], bearer_token: str | None) -> bytes:
    fields = {
        "Host": target.authority,
        "Accept": "text/plain;version=0.0.4,*/*;q=0.1",
        "Accept-Encoding": "identity",  # pages come from this host: decompressing costs more than copying
        "Connection": "close",
        **headers,
    }
    if bearer_token is not None:
        fields["Authorization"] = f"Bearer {bearer_token}"
    lines = [f"{name}: {value}" for name, value in fields.items()]
    if not all(line.isprintable() for line in lines):
        raise ValueError("a header has a character that is not printable")
    return "\r\n".join([f"GET {target.path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


async def _exchange(
    target: Target, request: bytes, max_bytes: int, tls_context: ssl.SSLContext | None
) -> bytes:
    reader, writer = await _connect(target, tls_context)
    try:
        writer.write(request)
        return await _Response(max_bytes).read_from(reader)
    except ssl.SSLError as error:
        raise FetchError("tls", str(error)) from error
    except OSError as error:
        raise FetchError("protocol", f"the connection broke: {error}") from error
    finally:
        # Not close(): over TLS it waits for the peer's close_notify, which may never come.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _connect(
    target: Target, tls_context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = (tls_context or _system_trust()) if target.tls else None
    try:
        return await asyncio.open_connection(target.host, target.port, ssl=context, limit=_READ_BYTES)
    except socket.gaierror as error:
        raise FetchError("resolve", f"{target.host}: {error}") from error
    except (ssl.SSLError, ssl.CertificateError) as error:
        raise FetchError("tls", str(error)) from error
    except OSError as error:
        raise FetchError("refused", f"no connection to {target.authority}: {error}") from error


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    """Load the system's certificates: tens of milliseconds, so once, and only if TLS is used."""
    return ssl.create_default_context()


class _Response:
    """One answer while it is received. httptools calls the `on_` methods."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._status = 0  # until the head is complete
        self._complete = False
        self._has_length = False
        self._encoding = b""
        self._location = b""

    async def read_from(self, reader: asyncio.StreamReader) -> bytes:
        try:
            await self._receive(reader)
        finally:
            del self._parser  # breaks a reference cycle that would keep the page until a garbage collection
        return self._inflated()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        received = 0
        while not self._complete:
            data = await reader.read(_READ_BYTES)
            if not data:
                self._end_of_stream()
                break
            received += len(data)
            self._feed(data)
            self._check_bounds(received)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise FetchError("protocol", f"the answer is not HTTP: {error}") from error
        if self._status:
            self._check_status()

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._status:
            return  # a trailer, or the head of a second answer
        if name == b"content-encoding":
            self._encoding = value.strip().lower()
        elif name == b"location":
            self._location = value.strip()
        elif name in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        self._status = self._status or self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if not self._complete:  # else it belongs to a second answer
            self._body += data

    def on_message_complete(self) -> None:
        self._complete = True

    def _check_status(self) -> None:
        if 300 <= self._status < 400:
            message = f"HTTP {self._status} is not followed: configure the final URL"
            raise FetchError("redirect", message, self._status, self._location.decode("latin-1"))
        if self._status != 200:
            raise FetchError("status", f"HTTP {self._status}", self._status)

    def _check_bounds(self, received: int) -> None:
        if not self._status and received > _MAX_HEAD_BYTES:
            raise FetchError("protocol", "the header of the answer is too long")
        if len(self._body) > self._max_bytes or received > self._max_bytes + _FRAMING_BYTES:
            raise FetchError("too_large", f"the page is larger than {self._max_bytes} bytes")

    def _end_of_stream(self) -> None:
        # Without a length, only the end of the connection marks the end of the page, and a server that died
        # looks the same: a last line without a line end may be half a number. Gzip and JSON mark their end.
        is_complete = self._encoding or self._body.startswith((b"{", b"[")) or self._body.endswith(b"\n")
        if not self._status or self._has_length or not is_complete:
            raise FetchError("protocol", "the connection ended before the answer did")

    def _inflated(self) -> bytes:
        if self._encoding in (b"", b"identity"):
            return bytes(self._body)
        if self._encoding not in (b"gzip", b"x-gzip"):
            raise FetchError("protocol", f"unknown content encoding {self._encoding.decode('latin-1')!r}")
        return _gunzip(bytes(self._body), self._max_bytes)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        page = inflater.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise FetchError("protocol", f"the answer is not gzip: {error}") from error
    if len(page) > max_bytes:
        raise FetchError("too_large", f"the page inflates to more than {max_bytes} bytes")
    if not inflater.eof:
        raise FetchError("protocol", "the gzip stream is incomplete")
    return page
