"""The daemons: what runs beside what, until a signal."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from perwatt.bootstrap import build_sampler
from perwatt.errors import CommandError
from perwatt.running import cancelled_by, run, together
from perwatt_agent.backend import BackendBroken
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig
from perwatt_exporter.app import exporter_app
from perwatt_exporter.listen import ListenError, bind
from perwatt_exporter.server import serve

logger = logging.getLogger(__name__)


def run_agent(config: AgentConfig) -> int:
    """Measure this machine and serve its page, until a signal."""
    sock = listen(config.web.listen_address)

    async def main(stop: asyncio.Event) -> int:
        sampler = build_sampler(config, SystemClock())
        logger.info("agent: http://%s/metrics", address(sock))
        app = exporter_app(lambda: sampler.latest)
        await together(stop, cancelled_by(stop, sampler.run()), serve(app, sock, stop=stop))
        return 0

    return run_daemon(main)


def run_daemon(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run *main*; a driver that only a new process can use ends this one, for its supervisor."""
    try:
        return run(main)
    except BackendBroken as error:
        raise CommandError(str(error)) from None


def listen(listen_address: str) -> socket.socket:
    """Take the address before anything else is started."""
    try:
        return bind(listen_address)
    except ListenError as error:
        raise CommandError(str(error)) from None


def address(sock: socket.socket) -> str:
    """Where a person on this machine finds the socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
