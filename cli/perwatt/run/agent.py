"""The daemon `agent`. Its process loads nothing of the aggregator, which would double its memory."""

import asyncio
import logging
import socket

from perwatt.run.bootstrap import build_registry, build_sampler
from perwatt.run.daemon import address, listen, run_daemon
from perwatt.run.event_loop import cancelled_by, together
from perwatt.run.simulated_machine import simulated_parts
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig
from perwatt_exporter.app import exporter_app
from perwatt_exporter.http.server import serve

logger = logging.getLogger(__name__)


def run_agent(config: AgentConfig) -> int:
    """Measure this machine and serve its metrics page until a signal."""
    sock = listen(config.web.listen_address)

    async def main(stop: asyncio.Event) -> int:
        await serve_agent(config, sock, stop)
        return 0

    return run_daemon(main)


async def serve_agent(config: AgentConfig, sock: socket.socket, stop: asyncio.Event) -> None:
    """Sample and serve until *stop* is set. After the end of a recording the page is empty."""
    clock = SystemClock()
    async with simulated_parts(config, clock) as (backend, endpoints):
        registry = build_registry(config, clock, endpoints)
        sampler = build_sampler(config, clock, backend=backend, endpoints=endpoints, registry=registry)
        # A recording already holds its work, so a replay refuses reports with 404.
        work = registry if config.work.post and not config.replay_file else None
        app = exporter_app(
            lambda: sampler.latest, work=work, events=sampler.events, subscribe=sampler.subscribe
        )
        logger.info("agent serves http://%s/metrics", address(sock))

        async def sample() -> None:
            await sampler.run()
            if config.replay_file:
                logger.warning(
                    "the recording %s has ended: there is nothing more to show", config.replay_file
                )

        await together(stop, cancelled_by(stop, sample()), serve(app, sock, stop=stop))
