"""One simulated fleet, scraped by an aggregator and kept as a database of samples would keep it."""

from collections.abc import Mapping

from msgspec.structs import replace

from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import FleetPlan
from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.facility.config import FacilityConfig, PueConfig
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.targets.config import AgentTargetConfig, PrometheusConfig, SourcesConfig
from support.fleet.scraped import Scraped

INTERVAL_SECONDS = 5.0
FACILITY = FacilityConfig(pue=PueConfig(1.25))


class TwoModes:
    """
    The fleet of *plan*: `embedded` reads its pages, and `scraped` has the same samples of the same instants.

    Nodes are scraped one after another within a second.
    """

    def __init__(self, plan: FleetPlan, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self.fleet = Fleet(plan)
        self.interval_seconds = interval_seconds
        self.clock = ManualClock(unix_seconds=plan.start_unix_seconds + 1.0)
        self.scraped = Scraped()
        agents = tuple(
            AgentTargetConfig(f"http://{node.identity.name}/metrics", labels={"rack": node.identity.rack})
            for node in self.fleet.nodes
        )
        self.embedded = Aggregator(self._config(SourcesConfig(agents)), self.clock)
        self._readers = [PageReader() for _ in agents]

    def _config(self, sources: SourcesConfig) -> AggregatorConfig:
        return AggregatorConfig(sources, self.interval_seconds, FACILITY, labels=("rack",))

    def run(self, seconds: float) -> None:
        """Scrape all nodes each interval."""
        for _ in range(round(seconds / self.interval_seconds)):
            self.clock.advance(self.interval_seconds - 1.0)
            step = 1.0 / len(self._readers)
            for number, agent in enumerate(self.embedded.nodes):
                self.clock.advance(step)
                # Databases keep milliseconds.
                unix = round(self.clock.unix(), 3)
                page = self.fleet.page(number, unix)
                self.scraped.scrape(agent.target.node, unix, page, self.labels(number))
                if page is None:
                    agent.fail("unreachable")
                else:
                    agent.add(self._readers[number].read(page, self.clock.monotonic()), unix)

    def labels(self, number: int) -> Mapping[str, str]:
        """The labels of a target."""
        return {"rack": self.fleet.nodes[number].identity.rack}

    def on(self, url: str, timeout: float = 60.0) -> Aggregator:
        """An aggregator with the same configuration, but with its readings from *url*."""
        prometheus = PrometheusConfig(url=url, timeout=timeout)
        return Aggregator(self._config(SourcesConfig(prometheus=prometheus)), self.clock)


def recent(plan: FleetPlan, unix_seconds: float) -> FleetPlan:
    """*plan* in the past, for engines that refuse samples of the future."""
    return replace(plan, start_unix_seconds=float(int(unix_seconds) - 3_600))
