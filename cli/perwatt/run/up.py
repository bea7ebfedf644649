"""The daemon `up`: agent and aggregator of one machine in one process."""

import asyncio

import msgspec
import uvloop

from perwatt.run.agent import serve_agent
from perwatt.run.aggregator import serve_aggregator
from perwatt.run.daemon import address, listen, run_daemon
from perwatt.run.event_loop import together
from perwatt.run.simulated_machine import has_driver
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.history.config import HistoryConfig
from perwatt_aggregator.targets.config import agents_at


def run_up(agent: AgentConfig, aggregator: AggregatorConfig) -> int:
    """Agent, aggregator and web page of this machine, with a status line, until a signal."""
    sock = listen(agent.web.listen_address)
    aggregator_sock = listen(aggregator.web.listen_address, "aggregator.web.listen_address")
    own = agents_at(f"http://{address(sock)}/metrics")
    aggregator = msgspec.structs.replace(aggregator, sources=own, history=_history(aggregator))

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

    return run_daemon(main, uvloop.run)


def _history(config: AggregatorConfig) -> HistoryConfig:
    """One machine keeps its history where all else is that outlives the process."""
    path = config.history.path or config.data_dir / "history.db"
    return msgspec.structs.replace(config.history, path=path)
