"""The daemons `agent`, `aggregator` and `up`: what runs side by side until a signal."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

import msgspec

from perwatt.errors import CommandError
from perwatt.run.bootstrap import build_book, build_sampler
from perwatt.run.running import cancelled_by, run, together
from perwatt.run.simulated import has_driver, simulated_parts
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig
from perwatt_agent.gpu.backend import BackendBroken
from perwatt_aggregator.config import AggregatorConfig, SourcesConfig
from perwatt_exporter.app import exporter_app
from perwatt_exporter.http.listen import ListenError, bind
from perwatt_exporter.http.server import serve

logger = logging.getLogger(__name__)


def run_agent(config: AgentConfig) -> int:
    """Measure this machine and serve its metrics page until a signal."""
    sock = listen(config.web.listen_address)

    async def main(stop: asyncio.Event) -> int:
        await serve_agent(config, sock, stop)
        return 0

    return run_daemon(main)


def run_aggregator(config: AggregatorConfig) -> int:
    """Scrape the agents and answer for them until a signal."""
    sock = listen(config.web.listen_address)

    async def main(stop: asyncio.Event) -> int:
        logger.info(
            "aggregator serves http://%s/; agents to scrape: %d", address(sock), len(config.sources.agents)
        )
        await serve_aggregator(config, sock, stop)
        return 0

    return run_daemon(main)


def run_up(agent: AgentConfig, aggregator: AggregatorConfig) -> int:
    """Agent, aggregator and web page of this machine, with a status line, until a signal."""
    sock, aggregator_sock = listen(agent.web.listen_address), listen(aggregator.web.listen_address)
    own = SourcesConfig(agents=(f"http://{address(sock)}/metrics",))
    aggregator = msgspec.structs.replace(aggregator, sources=own)

    async def main(stop: asyncio.Event) -> int:
        config = agent
        if agent.backend == "nvml" and not await has_driver(SystemClock()):
            print("no NVIDIA driver on this machine: the GPUs are SIMULATED", flush=True)
            config = msgspec.structs.replace(agent, backend="simulated")
        print(f"page     http://{address(aggregator_sock)}/", flush=True)
        print(f"metrics  http://{address(sock)}/metrics", flush=True)
        await together(
            stop,
            serve_agent(config, sock, stop),
            serve_aggregator(aggregator, aggregator_sock, stop, show_status=True),
        )
        return 0

    return run_daemon(main)


async def serve_agent(config: AgentConfig, sock: socket.socket, stop: asyncio.Event) -> None:
    """Sample and serve until *stop* is set. After the end of a recording the page is empty."""
    clock = SystemClock()
    async with simulated_parts(config, clock) as (backend, endpoints):
        book = build_book(config, clock, endpoints)
        sampler = build_sampler(config, clock, backend=backend, endpoints=endpoints, book=book)
        # A recording already holds its work, so a replay refuses reports with 404.
        work = None if config.replay_file else book
        app = exporter_app(
            lambda: sampler.latest, work=work, events=sampler.events, subscribe=sampler.subscribe
        )
        logger.info("agent serves http://%s/metrics", address(sock))
        await together(stop, cancelled_by(stop, sampler.run()), serve(app, sock, stop=stop))


async def serve_aggregator(
    config: AggregatorConfig, sock: socket.socket, stop: asyncio.Event, *, show_status: bool = False
) -> None:
    """Scrape and answer until *stop* is set."""
    # Imported here, so that the agent's process never loads FastAPI and aiohttp.
    from perwatt.run.status import show
    from perwatt_aggregator.aggregator import Aggregator
    from perwatt_aggregator.api.app import create_app

    try:
        aggregator = Aggregator(config, SystemClock())
    except ValueError as error:
        raise CommandError(f"facility: {error}") from None
    await aggregator.start()
    try:
        work = [serve(create_app(aggregator), sock, stop=stop)]
        if show_status:
            work.append(cancelled_by(stop, show(aggregator)))
        await together(stop, *work)
    finally:
        await aggregator.stop()


def run_daemon(main: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run *main*. Where only a new process can use the driver again, end this one: systemd restarts it."""
    try:
        return run(main)
    except BackendBroken as error:
        raise CommandError(str(error)) from None


def listen(listen_address: str) -> socket.socket:
    """Bind the address before anything else is started."""
    try:
        return bind(listen_address)
    except ListenError as error:
        raise CommandError(str(error)) from None


def address(sock: socket.socket) -> str:
    """The address at which a browser on this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
