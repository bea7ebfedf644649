"""Every way of writing the address to listen on, and what is said of those that will not do."""

import socket

import pytest

from perwatt_exporter.http.listen import ListenError, bind


class TestBind:
    @pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0", ":0"])
    def test_addresses(self, address: str) -> None:
        """Every way of writing an address gives a socket on which a client can already wait."""
        with bind(address) as sock:
            host = "::1" if sock.family is socket.AF_INET6 else "127.0.0.1"
            socket.create_connection((host, sock.getsockname()[1])).close()

    def test_all_addresses(self) -> None:
        """Without a host, IPv4 clients are served too."""
        with bind(":0") as sock:
            socket.create_connection(("127.0.0.1", sock.getsockname()[1])).close()

    def test_port_in_use(self) -> None:
        """A port in use is one line that names the address and the cure."""
        with bind("127.0.0.1:0") as sock:
            address = f"127.0.0.1:{sock.getsockname()[1]}"
            with pytest.raises(ListenError) as caught:
                bind(address)

        assert (
            f"cannot listen on {address}: another program listens there; stop it or choose another port"
            == str(caught.value)
        )

    @pytest.mark.parametrize(
        ("expected", "address"),
        [
            ("expected HOST:PORT", ""),
            ("expected HOST:PORT", "9836"),
            ("expected HOST:PORT", "localhost:"),
            ("expected HOST:PORT", "localhost:http"),
            ("expected HOST:PORT", "localhost:65536"),
            ("expected HOST:PORT", "localhost:-1"),
            ("expected HOST:PORT", "::1:9836"),
            ("this machine does not have that address", "192.0.2.1:9836"),
            ("the host has no address", "no-such-host.invalid:9836"),
            ("the host has no address", f"{'a' * 64}.invalid:9836"),
        ],
    )
    def test_bad_address(self, expected: str, address: str) -> None:
        """What cannot be listened on is one line that says what to do."""
        with pytest.raises(ListenError, match=expected) as caught:
            bind(address)

        assert "\n" not in str(caught.value)
