"""Listening TCP sockets of this network namespace, and the processes that hold them."""

import os
import socket
import struct
from collections.abc import Container, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from msgspec import Struct

_LISTEN = "0A"
_PIECE_BYTES = 4096


class Listener(Struct, frozen=True):
    """A listening socket. `address` is its bound address, possibly the unspecified address."""

    address: str
    port: int

    @property
    def loopback_url(self) -> str | None:
        """Its URL on the loopback interface; None if it cannot be reached there."""
        bound = ip_address(self.address)
        if bound.is_unspecified:
            bound = IPv4Address("127.0.0.1") if bound.version == 4 else IPv6Address("::1")
        if not bound.is_loopback:
            return None
        return f"http://[{bound}]:{self.port}" if bound.version == 6 else f"http://{bound}:{self.port}"


def listeners(root: Path) -> dict[int, Listener]:
    """Return every listening socket in this network namespace, by inode."""
    found: dict[int, Listener] = {}
    for name in ("tcp", "tcp6"):
        for line in _lines(root / "net" / name):
            fields = line.split(None, 10)
            if fields[3] != _LISTEN:
                break
            found[int(fields[9])] = _listener(fields[1])
    return found


def socket_inodes(root: Path, pid: int) -> frozenset[int] | None:
    """Return the inodes of the sockets that a process holds; None if they may not be read."""
    try:
        return frozenset(inode for _, inode in _sockets(root, pid))
    except FileNotFoundError:
        return frozenset()
    except OSError:
        return None


def descriptor_of(root: Path, pid: int, inodes: Container[int]) -> tuple[str, int] | None:
    """Return descriptor and inode of one socket of *inodes* that a process holds; None if it holds none."""
    try:
        return next((held for held in _sockets(root, pid) if held[1] in inodes), None)
    except OSError:
        return None


def in_other_network(root: Path, pid: int) -> bool:
    """Return whether a process is known to be in another network namespace than perwatt."""
    try:
        return (root / str(pid) / "ns/net").readlink() != (root / "self/ns/net").readlink()
    except OSError:
        return False


def _sockets(root: Path, pid: int) -> Iterator[tuple[str, int]]:
    """Yield path and inode of each socket of a process. Raises OSError if they may not be read."""
    folder = f"{root}/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208 - engines hold thousands: a Path each costs too much
        path = f"{folder}/{name}"
        try:
            target = os.readlink(path)  # noqa: PTH115 - as above
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield path, int(target[8:-1])


def _lines(path: Path) -> Iterator[str]:
    """
    Yield the lines of a socket table after its head, read in pieces.

    The kernel lists listening sockets first. A caller that stops after these saves the kernel the walk
    through all connections, which can take more than ten milliseconds.
    """
    rest, is_head = "", True
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # a kernel without IPv6
    try:
        while piece := os.read(descriptor, _PIECE_BYTES):
            *lines, rest = (rest + piece.decode("ascii")).split("\n")
            yield from lines[1:] if is_head else lines
            is_head = False
    finally:
        os.close(descriptor)


def _listener(text: str) -> Listener:
    address, _, port = text.partition(":")
    # The kernel prints each word of the address as a number in the byte order of the machine.
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return Listener(socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16))
