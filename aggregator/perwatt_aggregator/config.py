"""Configuration of the aggregator. The annotations are the reference, as in the agent."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Struct, field

from perwatt_agent.configfile.loading import Flags, IsValid, load
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import ADDRESS, PATH, URL, duration
from perwatt_agent.net.page_identity import page_identity
from perwatt_aggregator.answers.compute.config import ComputeConfig, check_compute
from perwatt_aggregator.facility.config import FacilityConfig, check_facility
from perwatt_aggregator.facility.shared_meter_config import SharedMeterConfig, check_shared_meters
from perwatt_aggregator.readings.objectives import SloConfig, check_objectives
from perwatt_aggregator.validity.uncertainty import UncertaintyConfig


class SourcesConfig(Struct, frozen=True):
    """The agents that the aggregator scrapes."""

    agents: Annotated[tuple[str, ...], Key("`/metrics` page of each agent", URL, "agent")] = (
        "http://127.0.0.1:9836/metrics",
    )


class AggregatorWebConfig(Struct, frozen=True):
    """The aggregator's HTTP server."""

    listen_address: Annotated[str, Key("address that serves the web page and the HTTP API", ADDRESS)] = (
        "0.0.0.0:9837"
    )


class AggregatorConfig(Struct, frozen=True):
    """Settings of the aggregator. Times are in seconds."""

    sources: SourcesConfig = field(default_factory=SourcesConfig)
    scrape_interval: Annotated[float, Key("how often to scrape each agent", duration(0.1, 300.0))] = 5.0
    facility: FacilityConfig = field(default_factory=FacilityConfig)
    facilities: Annotated[
        tuple[FacilityConfig, ...], Key("several facilities in place of `facility`, each with its `nodes`")
    ] = ()
    meters: Annotated[
        tuple[SharedMeterConfig, ...],
        Key("wall meters that cover several nodes; their joules are divided by board joules"),
    ] = ()
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)
    slo: Annotated[
        tuple[SloConfig, ...],
        Key("latency objectives; `slo` in `/v1/efficiency` counts the requests that met them"),
    ] = ()
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    data_dir: Annotated[
        Path, Key("folder for what must survive a restart: how many GPUs each node has", PATH)
    ] = Path("/var/lib/perwatt")
    web: AggregatorWebConfig = field(default_factory=AggregatorWebConfig)

    @property
    def all_facilities(self) -> tuple[FacilityConfig, ...]:
        """Every facility; there is at least one."""
        return self.facilities or (self.facility,)

    def facility_of(self, node: str) -> FacilityConfig:
        """The facility of *node*: the first one whose `nodes` match it."""
        return next(one for one in self.all_facilities if one.has_node(node))


def load_aggregator_config(
    path: Path | None, environ: Mapping[str, str], flags: Flags, renamed: Mapping[str, str] | None = None
) -> AggregatorConfig:
    """
    Read the aggregator's configuration: flags over environment over file over defaults.

    `renamed` maps a key to the name of its variable and flag if both daemons run in one process. Raises
    ConfigError with all errors.
    """
    return load(AggregatorConfig, path, environ, flags, check_aggregator, renamed)


def check_aggregator(config: AggregatorConfig, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Errors between keys."""
    agents = config.sources.agents
    if not agents and is_valid("sources.agents"):
        yield "sources.agents", "expected at least one agent's URL"
    if is_valid("sources.agents"):
        yield from _check_pages(agents)
    yield from _check_facilities(config, is_valid)
    yield from check_shared_meters(config.meters, tuple(map(node_name, agents)), is_valid)
    yield from check_objectives(config.slo, is_valid)
    yield from check_compute(config.compute, is_valid)


def _check_pages(agents: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """No agent's page is there twice, however its URL is spelt."""
    pages = [page_identity(url) for url in agents]
    for index, page in enumerate(pages):
        if page in pages[:index]:
            yield (
                f"sources.agents[{index}]",
                f"expected each agent only once, but sources.agents[{pages.index(page)}] is this page too; "
                "its joules would count twice",
            )


def _check_facilities(config: AggregatorConfig, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Every node belongs to a facility, and no two facilities have one name."""
    if config.facilities and config.facility != FacilityConfig():
        yield "facilities", "expected either `facilities` or `facility`, not both"
    yield from check_facility(config.facility, "facility", is_valid)
    for index, facility in enumerate(config.facilities):
        yield from check_facility(facility, f"facilities[{index}]", is_valid)
    names = [facility.name for facility in config.facilities]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"facilities[{index}].name", f"expected an unused name; {name!r} is taken"
    if is_valid("sources.agents") and is_valid("facilities"):
        for index, url in enumerate(config.sources.agents):
            if not any(facility.has_node(node_name(url)) for facility in config.all_facilities):
                yield f"sources.agents[{index}]", "expected a facility whose `nodes` match this agent"


def node_name(url: str) -> str:
    """The name of the node whose agent is at *url*: host and port, like `instance` in Prometheus."""
    return urlsplit(url).netloc.rpartition("@")[2]
