"""The aggregator: nodes that are scraped, and the answers that are made from what they showed."""

from collections.abc import Sequence

from perwatt_agent.clock import Clock
from perwatt_aggregator.answers import Dimension, Efficiency, Gpus, Nodes, Workloads
from perwatt_aggregator.boundary import BOUNDARIES, Boundary
from perwatt_aggregator.config import AggregatorConfig, node_name
from perwatt_aggregator.efficiency import efficiency
from perwatt_aggregator.facility.facility import Facility
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet import NodeView
from perwatt_aggregator.listing import gpu_items, node_items, workload_items
from perwatt_aggregator.node import Node, Target
from perwatt_aggregator.ring import NodeRing
from perwatt_aggregator.scrape import Scraper

HISTORY_SECONDS = 900.0
"""What is kept of each node, and so the longest window that can be asked for."""
DEFAULT_WINDOW_SECONDS = 60.0


class Aggregator:
    """Follows the agents in *config*; answers at any time, from what it has by then."""

    def __init__(self, config: AggregatorConfig, clock: Clock) -> None:
        self.facilities = tuple(map(Facility, config.all_facilities))
        self.nodes = tuple(
            Node(
                target,
                NodeRing(HISTORY_SECONDS, config.scrape_interval),
                config.facility_of(target.node),
            )
            for target in map(target_of, config.sources.agents)
        )
        self._clock = clock
        self._scraper = Scraper(self.nodes, config.scrape_interval, clock)

    async def start(self) -> None:
        """Begin to scrape; must be called on a running loop."""
        await self._scraper.start()

    async def stop(self) -> None:
        """Stop scraping; answers can still be had."""
        await self._scraper.stop()

    def efficiency(
        self,
        seconds: float = DEFAULT_WINDOW_SECONDS,
        by: Sequence[Dimension] = (),
        boundaries: Sequence[Boundary] = BOUNDARIES,
    ) -> Efficiency:
        """How many tokens a joule bought in the last *seconds*."""
        return Efficiency(by=tuple(by), items=efficiency(self.views(seconds), by, boundaries))

    def views(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> tuple[NodeView, ...]:
        """Every node over the last *seconds*, each with what holds of its facility over that time."""
        now = self._clock.monotonic()
        states = {state.name: state for state in self.facility_states(seconds)}
        return tuple(node.view(seconds, now, states[node.facility.name]) for node in self.nodes)

    def facility_states(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> tuple[FacilityState, ...]:
        """What holds of every facility over the last *seconds*."""
        now = self._clock.unix()
        return tuple(facility.state(now - seconds, now) for facility in self.facilities)

    def node_answer(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> Nodes:
        """Every configured agent, and whether it answers."""
        return Nodes(items=node_items(self.nodes, seconds, self._clock.monotonic()))

    def gpu_answer(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> Gpus:
        """Every GPU."""
        return Gpus(items=gpu_items(self.nodes, seconds, self._clock.monotonic()))

    def workload_answer(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> Workloads:
        """Every workload."""
        return Workloads(items=workload_items(self.nodes, seconds, self._clock.monotonic()))


def target_of(url: str) -> Target:
    """Name the node of an agent's URL."""
    return Target(node_name(url), url)
