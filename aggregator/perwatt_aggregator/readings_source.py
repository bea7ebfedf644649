"""Where each request gets its readings, by the configuration."""

from perwatt_agent.clock import Clock
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.fleet.prometheus_readings import PrometheusReadings
from perwatt_aggregator.fleet.raw_nodes import RawPlan
from perwatt_aggregator.fleet.readings import ReadingsSource
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.objectives import Objectives
from perwatt_aggregator.targets.target import Target


def readings_source(config: AggregatorConfig, clock: Clock, objectives: Objectives) -> ReadingsSource | None:
    """The source that is asked for each answer; None if agents are scraped, and their readings are here."""
    prometheus = config.sources.prometheus
    if prometheus is None:
        return None

    def build(target: Target, interval_seconds: float, history_seconds: float) -> Node | None:
        """A node without readings yet, and without a memory; None if no facility has it."""
        if not config.has_facility(target.node):
            return None
        ring = NodeRing(history_seconds, interval_seconds)
        return Node(target, ring, config.facility_of(target.node), config.uncertainty, objectives)

    plan = RawPlan(
        prometheus.selector, build, objectives, config.scrape_interval, is_divided=bool(config.meters)
    )
    return PrometheusReadings(prometheus, plan, clock)
