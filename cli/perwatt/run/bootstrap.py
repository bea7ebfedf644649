"""Assembly of the agent: the one place that names concrete classes."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from perwatt.errors import CommandError
from perwatt.run.discovery import build_discovery, build_pods, claims, engine_kinds
from perwatt.run.meters import build_meters, build_model
from perwatt.run.supervisor import Supervisor
from perwatt_agent.accounting.account import Account
from perwatt_agent.clock import Clock
from perwatt_agent.config import AgentConfig, EndpointConfig, IdentityConfig, is_one_page
from perwatt_agent.discovery.port_owner import LOOPBACK_HOSTS, LocalPort, LocalReader, PortOwnerLookup
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.engine.collector import EngineCollector
from perwatt_agent.engine.endpoint_poller import Endpoint, EndpointPoller
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.followers import Follower, FollowerClaims
from perwatt_agent.engine.gpu_claims import GpuClaims
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.facts.snapshot import AgentInfo
from perwatt_agent.facts.workload import WorkloadInfo
from perwatt_agent.gpu.backend import Backend
from perwatt_agent.gpu.nvml.backend import NvmlBackend
from perwatt_agent.gpu.nvml.driver.traits import Options
from perwatt_agent.identity.endpoint_identity import EndpointIdentity
from perwatt_agent.identity.identifier import Identifier
from perwatt_agent.identity.pod_resources_client import PodResourcesClient
from perwatt_agent.identity.slurm import SlurmJobMap
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.meters.collector import MeterCollector
from perwatt_agent.meters.host_load import HostReader
from perwatt_agent.net.tls import trusting
from perwatt_agent.recording.recording import Recording, RecordingError
from perwatt_agent.recording.replay import ReplaySource
from perwatt_agent.sampling.driver import Driver
from perwatt_agent.sampling.gpu_inventory import GpuInventory
from perwatt_agent.sampling.gpus import GpuCollector, Timing
from perwatt_agent.sampling.sampler import Sampler
from perwatt_agent.sampling.source import LiveSource, Source
from perwatt_agent.sampling.workload_collector import WorkloadCollector
from perwatt_agent.state.agent_id import load_agent_id
from perwatt_agent.state.gpu_memory import GpuMemory
from perwatt_agent.state.saver import Saver, is_in_memory
from perwatt_agent.state.shared_page_memory import SharedPageMemory
from perwatt_agent.state.state_file import StateFile
from perwatt_agent.work.claim_proof import ClaimProof
from perwatt_agent.work.collector import WorkCollector
from perwatt_agent.work.registry import WorkRegistry
from perwatt_agent.work.textfile import TextfileReader
from perwatt_agent.work.textfile_poller import TextfilePoller


def build_source(
    config: AgentConfig,
    clock: Clock,
    *,
    backend: Backend | None = None,
    endpoints: Sequence[Endpoint] = (),
    registry: WorkRegistry | None = None,
) -> tuple[Source, float]:
    """
    The source of readings and the seconds between them.

    `backend` replaces the NVIDIA driver's, `endpoints` are added to the configured ones, and `registry` holds
    the work that jobs report (default: a new one).
    """
    if config.replay_file is not None:
        recording = open_recording(config.replay_file)
        return ReplaySource(recording, clock, config.replay.speed), recording.header.interval_seconds
    timing = Timing.for_interval(config.sample_interval)
    options = Options(config.gpu.gpm, config.gpu.processes, config.gpu.detail)
    backend = backend or NvmlBackend(clock, options)
    driver = Driver(backend, clock, timing.hung_seconds)
    gpus = GpuCollector(driver, clock, timing, build_inventory(config, backend))
    socket = config.identity.pod_resources_socket
    pods = PodResourcesClient(socket, clock) if socket else None
    identifier = build_identifier(config.identity, pods)
    collectors: list[WorkloadCollector] = [pods] if pods else []
    registry = registry or build_registry(config, clock, endpoints)
    engines = build_engines(config, clock, identifier, registry.names, endpoints, lambda: gpus.unidentified)
    collectors += [engines] if engines else []
    if config.engines.discover:
        collectors.append(build_discovery(config, identifier, registry.names, clock))
    if config.engines.discover and config.identity.kubelet_url and pods:
        collectors.append(build_pods(config, pods, registry.names, clock))
    collectors.append(WorkCollector(registry, build_textfiles(config, registry, clock)))
    meters = MeterCollector(build_meters(config, clock), clock)
    source = LiveSource(driver, gpus, collectors, clock, config.sample_interval, meters, HostReader(clock))
    return source, config.sample_interval


def build_engines(
    config: AgentConfig,
    clock: Clock,
    identifier: Identifier,
    names: WorkloadNames,
    endpoints: Sequence[Endpoint],
    unidentified: Callable[[], int],
) -> EngineCollector | None:
    """
    Collector of the configured engines, and of *endpoints*; None if there are none.

    `unidentified` is how many GPUs have no identity.
    """
    followers = configured_followers(config)
    gpu_claims = GpuClaims(claims(config), unidentified)
    port_owners = PortOwnerLookup(ProcessTable(), clock)
    pollers = [
        build_poller(endpoint, config.engines.interval, port_owners, identifier, names, clock, gpu_claims)
        for endpoint in (*configured_endpoints(config), *endpoints)
    ]
    if not pollers and not followers:
        return None
    follower_claims = FollowerClaims(followers, clock, gpu_claims)
    return EngineCollector(pollers, follower_claims, gpu_claims, SharedPageMemory(config.data_dir))


def build_inventory(config: AgentConfig, backend: Backend) -> GpuInventory:
    """Inventory of GPUs. Only those of the NVIDIA driver are remembered: no others are this machine's."""
    excluded = [int(one) if one.isdecimal() else one for one in config.gpu.exclude]
    return GpuInventory(GpuMemory(config.data_dir) if backend.name == "nvml" else None, excluded)


def build_poller(
    endpoint: Endpoint,
    interval_seconds: float,
    port_owners: PortOwnerLookup,
    identifier: Identifier,
    names: WorkloadNames,
    clock: Clock,
    gpu_claims: GpuClaims | None = None,
) -> EndpointPoller:
    """Poller of one endpoint. On loopback the listening process identifies the identity."""
    if endpoint.host not in LOOPBACK_HOSTS:
        return EndpointPoller(
            endpoint, clock, interval_seconds, EndpointIdentity(identifier, names, clock), gpu_claims
        )
    port = LocalPort(port_owners, endpoint.host, endpoint.port)
    local = msgspec.structs.replace(endpoint, reader=LocalReader(endpoint.reader, port))
    identity = EndpointIdentity(identifier, names, clock, port.pid)
    return EndpointPoller(local, clock, interval_seconds, identity, gpu_claims)


def build_identifier(config: IdentityConfig, pods: PodResourcesClient | None) -> Identifier:
    """Identifier of the identity of a workload: Slurm job, pod or user."""
    jobs = SlurmJobMap(config.hpc_job_mapping_dir) if config.hpc_job_mapping_dir else None
    return Identifier(jobs=jobs, pods=pods)


def build_registry(config: AgentConfig, clock: Clock, endpoints: Sequence[Endpoint] = ()) -> WorkRegistry:
    """Registry of the work that jobs report, under names that no configured engine has."""
    named = [endpoint.workload for endpoint in config.engines.endpoints if endpoint.workload]
    named += [follower.info.workload for follower in configured_followers(config)]
    named += [endpoint.info.workload for endpoint in endpoints if endpoint.info.workload]
    # Simulated GPUs have no processes, and every figure of theirs is marked.
    proof = None if config.backend == "simulated" else ClaimProof(config.work.trusted_jobs)
    return WorkRegistry(clock, names=WorkloadNames(named), max_jobs=config.work.max_jobs, proof=proof)


def build_textfiles(config: AgentConfig, registry: WorkRegistry, clock: Clock) -> TextfilePoller | None:
    """Poller of the folder of text files, where one is configured."""
    folder = config.work.textfile_dir
    return None if folder is None else TextfilePoller(TextfileReader(folder), registry, clock)


def build_sampler(
    config: AgentConfig,
    clock: Clock,
    *,
    backend: Backend | None = None,
    endpoints: Sequence[Endpoint] = (),
    registry: WorkRegistry | None = None,
) -> Sampler:
    """The agent's loop. It saves its account in the state folder, except when it plays a recording."""
    source, interval_seconds = build_source(
        config, clock, backend=backend, endpoints=endpoints, registry=registry
    )
    state_file = None if config.replay_file is not None else StateFile(config.state_dir)
    account = Account(
        interval_seconds,
        calibration=config.calibration,
        idle_watts=config.attribution.idle_watts,
        model=build_model(config),
        state=state_file.load() if state_file else None,
        agent=build_agent_info(config, clock),
    )
    supervisor = Supervisor(interval_seconds)
    if state_file is None:
        return Sampler(source, account, clock, (supervisor.sampled,))

    saver = Saver(state_file, clock, in_memory=is_in_memory(config.state_dir))
    return Sampler(source, account, clock, (supervisor.sampled,), partial(saver.save, account.state))


def build_agent_info(config: AgentConfig, clock: Clock) -> AgentInfo | None:
    """Who this agent is; a replay has no id, since it may play what another agent recorded."""
    if config.replay_file is not None:
        return None
    agent = load_agent_id(config.data_dir)
    return AgentInfo(agent, clock.unix()) if agent else None


def open_recording(path: Path) -> Recording:
    """Raises CommandError when the file is not a complete recording."""
    try:
        return Recording(path)
    except RecordingError as error:
        raise CommandError(str(error)) from None


def configured_endpoints(config: AgentConfig) -> list[Endpoint]:
    """The configured endpoints that have a page."""
    kinds = engine_kinds(config)
    endpoints = [one for one in config.engines.endpoints if one.url is not None]
    shared = [any(is_one_page(one, other) for other in endpoints if other is not one) for one in endpoints]
    return [
        _endpoint(one, one.url, kinds, shared=is_shared)
        for one, is_shared in zip(endpoints, shared, strict=True)
        if one.url is not None
    ]


def configured_followers(config: AgentConfig) -> list[Follower]:
    """The configured endpoints without a page. One without a name is named GROUP-1, GROUP-2, ..."""
    taken = {endpoint.workload for endpoint in config.engines.endpoints}
    followers = []
    for endpoint in config.engines.endpoints:
        if endpoint.url is not None or endpoint.group is None:
            continue
        numbered = (f"{endpoint.group}-{number}" for number in count(1))
        name = endpoint.workload or next(name for name in numbered if name not in taken)
        taken.add(name)
        engine = "" if endpoint.engine == "auto" else endpoint.engine
        info = WorkloadInfo(name, group=endpoint.group, role=endpoint.role, engine=engine)
        followers.append(Follower(info, endpoint.gpus))
    return followers


def _endpoint(
    config: EndpointConfig, url: str, kinds: Sequence[EngineKind], *, shared: bool = False
) -> Endpoint:
    parts = urlsplit(url)
    try:
        reader = EnginePageReader(
            url,
            engine=config.engine,
            model=config.model,
            shared=shared,
            # An endpoint without GPUs computes no tokens itself.
            role="router" if config.gpus == () else config.role,
            kinds=kinds,
            bearer_token_file=config.bearer_token_file,
            credentials_file=config.credentials_file,
            tls_context=trusting(config.ca_file) if config.ca_file else None,
        )
    except ValueError as error:
        raise CommandError(f"endpoint {url}: {error}") from None
    return Endpoint(
        WorkloadInfo(workload=config.workload or "", group=config.group or "", role=config.role),
        parts.port or (443 if parts.scheme == "https" else 80),
        config.gpus,
        reader,
        host=parts.hostname or "",
        url=url,
    )
