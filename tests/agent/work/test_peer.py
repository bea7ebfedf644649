"""The user at the other end of a connection over loopback."""

import os
import socket

import pytest

from perwatt_agent.work.peer import user_of

HOSTS = [
    pytest.param("127.0.0.1", socket.AF_INET, id="IPv4"),
    pytest.param("::1", socket.AF_INET6, id="IPv6"),
]
HERE = ("127.0.0.1", 1)


@pytest.mark.parametrize(("host", "family"), HOSTS)
def test_user(host: str, family: socket.AddressFamily) -> None:
    """An open connection has the user of its client; one that its client closed has none."""
    with socket.create_server((host, 0), family=family) as server:
        client = socket.create_connection(server.getsockname()[:2])
        accepted, peer = server.accept()
        with accepted:
            ends = (peer[0], peer[1]), (host, server.getsockname()[1])
            assert os.geteuid() == user_of(*ends)
            client.close()
            assert user_of(*ends) is None


def test_mapped() -> None:
    """A server on all addresses sees IPv4 clients mapped into IPv6."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, peer = server.accept()
            with accepted:
                assert os.geteuid() == user_of((peer[0], peer[1]), (accepted.getsockname()[0], port))


@pytest.mark.parametrize(
    ("client", "server"), [(None, HERE), (("a", 1), ("b", 2)), (HERE, None), (HERE, HERE)]
)
def test_unknown(client: tuple[str, int] | None, server: tuple[str, int] | None) -> None:
    """What is no connection of this machine has no user."""
    assert user_of(client, server) is None
