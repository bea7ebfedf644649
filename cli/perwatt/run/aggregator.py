"""The daemon `aggregator`: scrapes the agents of a fleet and answers for them."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

import uvloop

from perwatt.errors import CommandError
from perwatt.run.daemon import address, listen, run_daemon
from perwatt.run.event_loop import cancelled_by, together
from perwatt.run.status import show
from perwatt_agent.clock import Clock, SystemClock
from perwatt_agent.configfile.layers import ConfigError
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.history.history import History
from perwatt_aggregator.history.schema import HistoryRefused
from perwatt_aggregator.history.store import HistoryStore
from perwatt_aggregator.readings.node_memory import NodeFile, NodeMemory
from perwatt_aggregator.targets.config import SourcesConfig
from perwatt_exporter.http.server import serve

logger = logging.getLogger(__name__)


Reload = Callable[[], AggregatorConfig]
"""Reads the configuration again. Raises ConfigError."""


def run_aggregator(config: AggregatorConfig, reload: Reload | None = None) -> int:
    """Scrape the agents and answer for them until a signal; SIGHUP makes *reload* read the agents again."""
    sock = listen(config.web.listen_address)

    async def main(stop: asyncio.Event) -> int:
        logger.info("aggregator serves http://%s/; %s", address(sock), _described(config.sources))
        await serve_aggregator(config, sock, stop, reload=reload)
        return 0

    return run_daemon(main, uvloop.run)


def _described(sources: SourcesConfig) -> str:
    """Where readings come from, for the first line of the log."""
    if sources.prometheus is not None:
        return f"readings from {sources.prometheus.url}"
    discovered = ", and those that are discovered" if sources.discovers else ""
    return f"configured agents: {len(sources.named_agents)}{discovered}"


async def serve_aggregator(
    config: AggregatorConfig,
    sock: socket.socket,
    stop: asyncio.Event,
    *,
    show_status: bool = False,
    reload: Reload | None = None,
) -> None:
    """Scrape and answer until *stop* is set."""
    try:
        clock = SystemClock()
        # Whoever asks a server for each answer keeps nothing.
        is_stateless = config.sources.prometheus is not None
        memory = NodeMemory() if is_stateless else NodeFile(config.data_dir, clock)
        aggregator = Aggregator(config, clock, memory, open_history(config.history, clock))
    except HistoryRefused as error:
        raise CommandError(str(error)) from None
    except ValueError as error:
        raise CommandError(f"facility: {error}") from None
    await aggregator.start()
    try:
        work = [serve(create_app(aggregator), sock, stop=stop)]
        if show_status:
            work.append(cancelled_by(stop, show(aggregator)))
        if reload is not None:
            work.append(cancelled_by(stop, _reload_on_signal(aggregator, reload)))
        await together(stop, *work)
    finally:
        await aggregator.stop()


def open_history(config: HistoryConfig, clock: Clock) -> History | None:
    """The history that is configured; None if there is none. Raises HistoryRefused."""
    if config.path is None:
        return None
    history = History(config, HistoryStore(config, config.path), clock)
    history.open()
    return history


async def _reload_on_signal(aggregator: Aggregator, reload: Reload) -> None:
    """Read the configuration again at each SIGHUP; one that is not valid changes nothing."""
    hung_up = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)
    while True:
        await hung_up.wait()
        hung_up.clear()
        try:
            await aggregator.reload(reload())
        except ConfigError as error:
            logger.error("the configuration is not valid, the one before stays: %s", error)
        else:
            logger.info("read the configuration again; agents to scrape: %d", len(aggregator.nodes))
