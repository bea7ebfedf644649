"""Listening socket of a daemon, bound before anything else is started."""

import errno
import os
import socket

from perwatt_agent.configfile.value_kinds import host_and_port

BACKLOG = 1024
CURES = {
    errno.EADDRINUSE: "another program listens there; stop it or choose another port",
    errno.EACCES: "this user may not listen there; choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine does not have that address; choose one of its own, or 0.0.0.0 for all",
}


class ListenError(Exception):
    """The address cannot be listened on; the message says what to do about it, in one line."""


def bind(listen_address: str) -> socket.socket:
    """
    Listen on HOST:PORT, [IPV6]:PORT or, on all addresses of the machine, :PORT.

    The socket listens already: what is in the way shows now, and early clients wait instead of failing.
    """
    try:
        host, port = host_and_port(listen_address)
    except ValueError as error:
        raise ListenError(f"cannot listen on {listen_address!r}: expected {error}") from None
    try:
        return _listen(host, port)
    except (socket.gaierror, UnicodeError):
        reason = "the host has no address; give an IP address, or 0.0.0.0 for all of this machine"
    except OSError as error:
        reason = CURES.get(error.errno or 0, os.strerror(error.errno or 0))
    raise ListenError(f"cannot listen on {listen_address}: {reason}")


def _listen(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    flags = socket.AI_PASSIVE
    family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)[0]
    return socket.create_server((address[0], port), family=family, backlog=BACKLOG)
