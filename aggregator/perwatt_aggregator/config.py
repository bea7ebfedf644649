"""Configuration of the aggregator. The annotations are the reference, as in the agent."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Struct, field

from perwatt_agent.configfile.loading import Flags, IsValid, load
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import ADDRESS, PATH, duration
from perwatt_aggregator.answers.compute.config import ComputeConfig, check_compute
from perwatt_aggregator.facility.config import FacilityConfig, check_facility
from perwatt_aggregator.facility.shared_meter_config import SharedMeterConfig, check_shared_meters
from perwatt_aggregator.history.config import HistoryConfig, check_history
from perwatt_aggregator.readings.objectives import SloConfig, check_objectives
from perwatt_aggregator.schema.common import DIMENSIONS
from perwatt_aggregator.targets.config import LABEL_NAME, SourcesConfig, check_sources
from perwatt_aggregator.targets.target import node_name
from perwatt_aggregator.validity.uncertainty import UncertaintyConfig


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
    labels: Annotated[
        tuple[str, ...],
        Key("labels of the targets by which answers group and filter, such as `rack`", LABEL_NAME, "label"),
    ] = ()
    data_dir: Annotated[
        Path, Key("folder for what must survive a restart: how many GPUs each node has", PATH)
    ] = Path("/var/lib/perwatt")
    history: HistoryConfig = field(default_factory=HistoryConfig)
    web: AggregatorWebConfig = field(default_factory=AggregatorWebConfig)

    @property
    def all_facilities(self) -> tuple[FacilityConfig, ...]:
        """Every facility; there is at least one."""
        return self.facilities or (self.facility,)

    def has_facility(self, node: str) -> bool:
        """Whether a facility's `nodes` match *node*."""
        return any(one.has_node(node) for one in self.all_facilities)

    def facility_of(self, node: str) -> FacilityConfig:
        """The facility of *node*: the first one whose `nodes` match it."""
        return next(one for one in self.all_facilities if one.has_node(node))


RESERVED = frozenset(
    (
        *DIMENSIONS,
        *("window", "from", "to", "by", "boundary", "sort", "limit", "cursor", "since", "step", "kw"),
        *("topics", "start", "end", "output_tokens", "prompt_tokens"),
    )
)
"""Names that a label cannot have: dimensions and parameters of answers."""


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
    agents = tuple(node_name(agent.url) for agent in config.sources.named_agents)
    yield from check_sources(config.sources, is_valid)
    yield from _check_labels(config.labels)
    yield from _check_facilities(config, is_valid)
    yield from check_shared_meters(config.meters, agents, is_valid, others=config.sources.discovers)
    yield from check_objectives(config.slo, is_valid)
    yield from check_compute(config.compute, is_valid)
    yield from check_history(config.history)
    if config.sources.prometheus is not None and config.history.path is not None:
        yield (
            "history.path",
            "expected no value together with sources.prometheus",
        )


def _check_labels(labels: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """A label is a dimension and a parameter, so it needs a name of its own."""
    for index, label in enumerate(labels):
        if label in RESERVED or label.startswith("__"):
            yield f"labels[{index}]", f"expected a name that answers do not use themselves; {label} is taken"
        elif label in labels[:index]:
            yield f"labels[{index}]", "expected each label once"


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
        for index, agent in enumerate(config.sources.named_agents):
            if not any(facility.has_node(node_name(agent.url)) for facility in config.all_facilities):
                yield f"sources.agents[{index}]", "expected a facility whose `nodes` match this agent"
