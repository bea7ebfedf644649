"""Identity of a page: two URLs with one identity are one page, however they are spelt."""

import ipaddress
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

_PORTS = {"http": 80, "https": 443}
_LOOPBACK = "localhost"
_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
# Connections to the unspecified address reach this machine. Other addresses of 127.0.0.0/8 may have servers
# of their own.
_LOOPBACK_ADDRESSES = frozenset({"127.0.0.1", "::1", "0.0.0.0", "::"})


class PageIdentity(Struct, frozen=True):
    """Host, port, path and query of a page. The scheme is left out: a port speaks HTTP or HTTPS, not both."""

    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for comparisons of servers in place of pages."""
        return self.host, self.port

    @property
    def is_loopback(self) -> bool:
        return self.host == _LOOPBACK or self.host.startswith("127.")


def page_identity(url: str) -> PageIdentity:
    """
    Return the identity of the page at *url*, an http or https URL.

    Not compared are upper case in the host, a port that is the default, a final `/` or `?`, a fragment, the
    order of a query, and `autoload`, which perwatt sets itself. No name is looked up: all spellings of
    loopback are one host, but a name and its address are two.
    """
    parts = urlsplit(url)
    query = (pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "autoload")
    return PageIdentity(
        _host(parts.hostname or ""),
        parts.port or _PORTS.get(parts.scheme, 0),
        parts.path.rstrip("/"),
        tuple(sorted(query)),
    )


def _host(host: str) -> str:
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _LOOPBACK if host in _LOOPBACK_NAMES else host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return _LOOPBACK if str(address) in _LOOPBACK_ADDRESSES else str(address)
