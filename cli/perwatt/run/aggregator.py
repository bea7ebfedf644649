"""The daemon `aggregator`: scrapes the agents of a fleet and answers for them."""

import asyncio
import logging
import socket

import uvloop

from perwatt.errors import CommandError
from perwatt.run.daemon import address, listen, run_daemon
from perwatt.run.event_loop import cancelled_by, together
from perwatt.run.status import show
from perwatt_agent.clock import SystemClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.readings.node_memory import NodeFile
from perwatt_exporter.http.server import serve

logger = logging.getLogger(__name__)


def run_aggregator(config: AggregatorConfig) -> int:
    """Scrape the agents and answer for them until a signal."""
    sock = listen(config.web.listen_address)

    async def main(stop: asyncio.Event) -> int:
        logger.info(
            "aggregator serves http://%s/; agents to scrape: %d", address(sock), len(config.sources.agents)
        )
        await serve_aggregator(config, sock, stop)
        return 0

    return run_daemon(main, uvloop.run)


async def serve_aggregator(
    config: AggregatorConfig, sock: socket.socket, stop: asyncio.Event, *, show_status: bool = False
) -> None:
    """Scrape and answer until *stop* is set."""
    try:
        clock = SystemClock()
        aggregator = Aggregator(config, clock, NodeFile(config.data_dir, clock))
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
