"""Discovery of engines, built from the configuration. Configured engines take precedence."""

import socket
from collections.abc import Sequence

from perwatt.errors import CommandError
from perwatt_agent.clock import Clock
from perwatt_agent.config import AgentConfig
from perwatt_agent.discovery.collector import DiscoveryCollector
from perwatt_agent.discovery.configured import ConfiguredEndpoints
from perwatt_agent.discovery.pod_collector import PodCollector
from perwatt_agent.discovery.pod_list import PodList
from perwatt_agent.discovery.process_table import ProcessTable
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.custom_kind import custom_kind
from perwatt_agent.engine.gpu_claims import Claim
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.identity.identifier import Identifier, PodHolders
from perwatt_agent.identity.workload_names import WorkloadNames
from perwatt_agent.net.page_identity import PageIdentity, page_identity


def build_discovery(
    config: AgentConfig, identifier: Identifier, names: WorkloadNames, clock: Clock
) -> DiscoveryCollector:
    """Collector that finds engines by their processes on the GPUs."""
    return DiscoveryCollector(
        ProcessTable(),
        identifier,
        names,
        configured(config),
        clock,
        config.engines.interval,
        kinds=engine_kinds(config),
    )


def build_pods(config: AgentConfig, holders: PodHolders, names: WorkloadNames, clock: Clock) -> PodCollector:
    """Collector that finds engines in the pods that the kubelet lists."""
    identity = config.identity
    try:
        pods = PodList(
            identity.kubelet_url or "",
            ca_file=identity.kubelet_ca_file,
            token_file=identity.kubelet_token_file,
        )
    except (OSError, ValueError) as error:
        raise CommandError(f"identity.kubelet_url: {error}") from None
    interval_seconds = config.engines.interval
    return PodCollector(
        pods, holders, names, configured(config), clock, interval_seconds, kinds=engine_kinds(config)
    )


def engine_kinds(config: AgentConfig) -> Sequence[EngineKind]:
    """The engines whose pages perwatt can read. Those of the configuration are recognised first."""
    return (*(custom_kind(kind) for kind in config.engines.kinds), *ENGINES)


def configured(config: AgentConfig) -> ConfiguredEndpoints:
    """The local pages and the GPUs of the configured endpoints: discovery skips them."""
    endpoints = config.engines.endpoints
    pages = [page_identity(endpoint.url) for endpoint in endpoints if endpoint.url is not None]
    return ConfiguredEndpoints(
        ports=frozenset(page.port for page in pages if _is_local(page)),
        exclusive=tuple(endpoint.gpus for endpoint in endpoints if not endpoint.shared),
        pages=frozenset(page.address for page in pages),
    )


def claims(config: AgentConfig) -> tuple[Claim, ...]:
    """The GPUs that each endpoint claims, in the order of the configuration."""
    return tuple(
        Claim(endpoint.workload or endpoint.url or endpoint.group or "", endpoint.gpus, endpoint.shared)
        for endpoint in config.engines.endpoints
    )


def _is_local(page: PageIdentity) -> bool:
    return page.is_loopback or page.host == socket.gethostname().lower()
