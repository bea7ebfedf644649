"""Simulated machine: GPUs and an engine that follow one load."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from perwatt_agent.clock import Clock
from perwatt_agent.config import AgentConfig
from perwatt_agent.engine.endpoint_poller import Endpoint
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.gpu.backend import Backend, BackendUnavailable
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.threads.worker import WorkerThread

PROBE_SECONDS = 5.0
WORKLOAD = "simulated-chat"

Parts = tuple[Backend | None, tuple[Endpoint, ...]]


@asynccontextmanager
async def simulated_parts(config: AgentConfig, clock: Clock) -> AsyncIterator[Parts]:
    """
    Backend and endpoints of a simulated machine, where the configuration selects one.

    The simulated engine runs only when no other engine is configured.
    """
    if config.backend != "simulated":
        yield None, ()
        return
    # An agent of real GPUs loads nothing of the simulated ones.
    from perwatt_agent.engine.engine_page_reader import EnginePageReader
    from perwatt_agent.gpu.simulated.backend import SimulatedBackend
    from perwatt_agent.gpu.simulated.engine import SimulatedEngine
    from perwatt_agent.gpu.simulated.load import Load

    load = Load(clock)
    backend = SimulatedBackend(clock, load=load)
    if config.engines.endpoints:
        yield backend, ()
        return
    engine = SimulatedEngine(load)
    await engine.start()
    try:
        port = urlsplit(engine.url).port or 0
        yield backend, (Endpoint(WorkloadInfo(WORKLOAD), port, "all", EnginePageReader(engine.url)),)
    finally:
        await engine.close()


async def has_driver(clock: Clock) -> bool:
    """Whether this machine has an NVIDIA driver. One that hangs counts as present."""
    backend = NvmlBackend(clock)
    thread = WorkerThread("probe", clock)
    opening = thread.submit(backend.open)
    done, _ = await asyncio.wait([opening], timeout=PROBE_SECONDS)
    if not done:
        return True
    try:
        opening.result()
    except BackendUnavailable:
        return False
    await thread.submit(backend.close)
    return True
