"""What an operator may say to the aggregator. The annotations are the reference, as in the agent."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct, field

from perwatt_agent.configfile import Flags, Key, Sound, load
from perwatt_agent.configfile.kinds import ADDRESS, TEXT, URL, duration, matching, number, one_of

CURRENCY = matching("[A-Z]{3}", "three letters of ISO 4217, such as USD")


class SourcesConfig(Struct, frozen=True):
    """Whom the aggregator asks."""

    agents: Annotated[tuple[str, ...], Key("the agents' `/metrics` pages", URL, "agent")] = (
        "http://127.0.0.1:9836/metrics",
    )


class PueConfig(Struct, frozen=True):
    """Power usage effectiveness: facility joules per joule at the nodes."""

    ratio: Annotated[float, Key("facility joules / IT joules", number(1.0))]
    kind: Annotated[Literal["static"], Key("how it is known", one_of("static"))] = "static"


class NodeOverheadConfig(Struct, frozen=True):
    """An estimate of node joules from board joules, only where no node meter exists."""

    ratio: Annotated[float, Key("node joules / board joules", number(1.0))]


class PriceConfig(Struct, frozen=True):
    """What a kilowatt-hour costs."""

    currency: Annotated[str, Key("ISO 4217", CURRENCY)]
    per_kwh: Annotated[float, Key("price of a kilowatt-hour", number(0.0))]


class CarbonConfig(Struct, frozen=True):
    """What a kilowatt-hour emits."""

    grams_co2e_per_kwh: Annotated[float, Key("emissions of a kilowatt-hour", number(0.0))]
    kind: Annotated[
        Literal["average", "marginal"], Key("`average` or `marginal`", one_of("average", "marginal"))
    ] = "average"


class FacilityConfig(Struct, frozen=True):
    """The building around the nodes; what is not known of it is None."""

    name: Annotated[str, Key("the `facility` label", TEXT)] = "default"
    pue: PueConfig | None = None
    node_overhead: NodeOverheadConfig | None = None
    price: PriceConfig | None = None
    carbon: CarbonConfig | None = None


class AggregatorWebConfig(Struct, frozen=True):
    """Where the aggregator answers."""

    listen_address: Annotated[str, Key("where to answer", ADDRESS)] = "0.0.0.0:9837"


class AggregatorConfig(Struct, frozen=True):
    """All that the aggregator is told. Times are in seconds."""

    sources: SourcesConfig = field(default_factory=SourcesConfig)
    scrape_interval: Annotated[float, Key("how often each agent is asked", duration(0.1, 300.0))] = 5.0
    facility: FacilityConfig = field(default_factory=FacilityConfig)
    web: AggregatorWebConfig = field(default_factory=AggregatorWebConfig)


def load_aggregator_config(
    path: Path | None, environ: Mapping[str, str], flags: Flags, renamed: Mapping[str, str] | None = None
) -> AggregatorConfig:
    """
    Read the aggregator's configuration: flags over environment over file over defaults.

    `renamed` maps a key to the name that its variable and flag go by where both daemons run in one
    process. Raises ConfigError naming every error.
    """
    return load(AggregatorConfig, path, environ, flags, check_aggregator, renamed)


def check_aggregator(config: AggregatorConfig, sound: Sound) -> Iterator[tuple[str, str]]:
    """What must hold between keys."""
    agents = config.sources.agents
    if not agents and sound("sources.agents"):
        yield "sources.agents", "expected at least one agent's URL"
    for index, url in enumerate(agents):
        if url in agents[:index]:
            yield f"sources.agents[{index}]", "expected each agent once, or its joules would count twice"
