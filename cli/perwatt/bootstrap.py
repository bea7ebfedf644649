"""Put the agent together: the one place that names concrete classes."""

import logging
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from perwatt.errors import CommandError
from perwatt_agent.accounting.account import Account
from perwatt_agent.backend import Backend
from perwatt_agent.clock import Clock
from perwatt_agent.config import AgentConfig, EndpointConfig, IdentityConfig
from perwatt_agent.engine.endpoints import Endpoint, EndpointPoller
from perwatt_agent.engine.feed import EngineFeed
from perwatt_agent.engine.reader import EngineReader
from perwatt_agent.feed import Feed
from perwatt_agent.identity import Identifier, Names
from perwatt_agent.identity.jobs import JobMap
from perwatt_agent.identity.pods import PodWatch
from perwatt_agent.identity.tenant import Tenant
from perwatt_agent.nvml import NvmlBackend
from perwatt_agent.readings import Readings
from perwatt_agent.recording import Recording, RecordingError
from perwatt_agent.replay import ReplaySource
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpus import GpuSweeper, Timing
from perwatt_agent.sampling.sampler import Sampler
from perwatt_agent.sampling.source import LiveSource, Source
from perwatt_agent.snapshot import Snapshot, WorkloadInfo
from perwatt_agent.state import StateFile

logger = logging.getLogger(__name__)


def build_source(
    config: AgentConfig, clock: Clock, *, backend: Backend | None = None, endpoints: Sequence[Endpoint] = ()
) -> tuple[Source, float]:
    """
    The source of readings and the seconds between them.

    `backend` stands in for the NVIDIA driver's, `endpoints` add to the configured ones.
    """
    if config.replay_file is not None:
        recording = open_recording(config.replay_file)
        return ReplaySource(recording, clock, config.replay.speed), recording.header.interval_seconds
    timing = Timing.for_interval(config.sample_interval)
    driver = Driver(backend or NvmlBackend(clock), clock, timing.hung_seconds)
    identifier, feeds = build_identifier(config.identity, clock)
    names = Names(endpoint.workload for endpoint in config.engines.endpoints if endpoint.workload)
    pollers = [
        EndpointPoller(endpoint, clock, config.engines.interval, Tenant(identifier, names, clock))
        for endpoint in (*configured_endpoints(config), *endpoints)
    ]
    feeds += [EngineFeed(pollers)] if pollers else []
    sweeper = GpuSweeper(driver, clock, timing)
    return LiveSource(driver, sweeper, feeds, clock, config.sample_interval), config.sample_interval


def build_identifier(config: IdentityConfig, clock: Clock) -> tuple[Identifier, list[Feed]]:
    """What finds out whom workloads are for, and the feeds that must run for it."""
    jobs = JobMap(config.hpc_job_mapping_dir) if config.hpc_job_mapping_dir else None
    pods = PodWatch(config.pod_resources_socket, clock) if config.pod_resources_socket else None
    return Identifier(jobs=jobs, pods=pods), [pods] if pods else []


def build_sampler(
    config: AgentConfig, clock: Clock, *, backend: Backend | None = None, endpoints: Sequence[Endpoint] = ()
) -> Sampler:
    """The agent's loop, which remembers its account in the state folder unless it plays a recording."""
    source, interval_seconds = build_source(config, clock, backend=backend, endpoints=endpoints)
    if config.replay_file is not None:
        return Sampler(source, Account(interval_seconds, calibration=config.calibration), clock)
    state_file = StateFile(config.state_dir)
    account = Account(interval_seconds, calibration=config.calibration, state=state_file.load())

    def remember(readings: Readings, snapshot: Snapshot) -> None:
        state_file.save(account.state())

    return Sampler(source, account, clock, (remember,))


def open_recording(path: Path) -> Recording:
    """Raises CommandError when the file is no whole recording."""
    try:
        return Recording(path)
    except RecordingError as error:
        raise CommandError(str(error)) from None


def configured_endpoints(config: AgentConfig) -> list[Endpoint]:
    """The endpoints that have a page; what follows another node's engine has none."""
    endpoints = []
    for endpoint in config.engines.endpoints:
        if endpoint.url is None:
            logger.warning(
                "a follower of group %s has no page: its joules stay unattributed in this release",
                endpoint.group,
            )
        else:
            endpoints.append(_endpoint(endpoint, endpoint.url))
    return endpoints


def _endpoint(config: EndpointConfig, url: str) -> Endpoint:
    parts = urlsplit(url)
    try:
        reader = EngineReader(
            url, engine=config.engine, model=config.model, bearer_token_file=config.bearer_token_file
        )
    except ValueError as error:
        raise CommandError(f"endpoint {url}: {error}") from None
    return Endpoint(
        WorkloadInfo(workload=config.workload or "", group=config.group or "", role=config.role),
        parts.port or (443 if parts.scheme == "https" else 80),
        config.gpus,
        reader,
    )
