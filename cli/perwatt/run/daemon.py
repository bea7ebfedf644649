"""Shared parts of the daemons: the listening socket, and a run until a signal."""

import asyncio
import socket

from perwatt.errors import CommandError
from perwatt.run.event_loop import Loop, Main, run
from perwatt_agent.gpu.backend import BackendBroken
from perwatt_exporter.http.listen import ListenError, bind


def run_daemon(main: Main, loop: Loop = asyncio.run) -> int:
    """Run *main*. Where only a new process can use the driver again, end this one: systemd restarts it."""
    try:
        return run(main, loop)
    except BackendBroken as error:
        raise CommandError(str(error)) from None


def listen(listen_address: str, setting: str = "web.listen_address") -> socket.socket:
    """Bind the address before anything else is started; an error names *setting*."""
    try:
        return bind(listen_address)
    except ListenError as error:
        raise CommandError(f"{error} ({setting})") from None


def address(sock: socket.socket) -> str:
    """The address at which a browser on this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
