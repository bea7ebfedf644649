"""User of the process at the other end of a loopback connection, from the kernel's socket diagnosis."""

import socket
import struct
from ipaddress import IPv6Address, ip_address

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = 1
_HEADER = struct.Struct("=IHHII")
_SOCKET = struct.Struct(">HH16s16s")
_COOKIE_AND_INTERFACE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_USER_AND_INODE = struct.Struct("=II")
# After the header: family to retransmits (4), the socket (48), expiry and both queues (12).
_USER_AT = 16 + 4 + 48 + 12
_TIMEOUT_SECONDS = 0.2

Address = tuple[str, int]


def user_of(client: Address | None, server: Address | None) -> int | None:
    """
    Return the user id of the process that owns the *client* end of a TCP connection to *server*.

    None if the connection is not of this network namespace, if its client has closed it already (the kernel
    then reports user 0), or if the kernel does not answer.
    """
    if client is None or server is None:
        return None
    try:
        request = _request(client, server)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as diagnosis:
            diagnosis.settimeout(_TIMEOUT_SECONDS)
            diagnosis.sendto(request, (0, 0))
            answer = diagnosis.recv(4096)
    except (OSError, ValueError):
        return None
    return _user_in(answer)


def _request(client: Address, server: Address) -> bytes:
    """Ask for exactly one socket: the one whose own address is that of the client."""
    source, target = (_packed(client[0]), _packed(server[0]))
    family = socket.AF_INET if len(source) == 4 else socket.AF_INET6
    ends = _SOCKET.pack(client[1], server[1], source, target)
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ends + _COOKIE_AND_INTERFACE
    return _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST, 1, 0) + body


def _packed(host: str) -> bytes:
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).packed


def _user_in(answer: bytes) -> int | None:
    if len(answer) < _HEADER.size or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    if len(answer) < _USER_AT + _USER_AND_INODE.size:
        return None
    user, inode = _USER_AND_INODE.unpack_from(answer, _USER_AT)
    return user if inode else None
