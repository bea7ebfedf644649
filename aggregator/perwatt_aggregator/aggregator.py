"""Aggregator: scrapes the nodes, polls the meters, and answers from the readings that it has."""

import asyncio
import logging
from collections.abc import Sequence
from copy import copy

from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.meters.build import build_meter
from perwatt_aggregator.answers.capacity import capacity
from perwatt_aggregator.answers.compute.chain import compute
from perwatt_aggregator.answers.efficiency import efficiency
from perwatt_aggregator.answers.facility import facility_item
from perwatt_aggregator.answers.filters import matches, node_matches
from perwatt_aggregator.answers.history.past import Past
from perwatt_aggregator.answers.inventory import gpu_items, node_items, source_items, workload_items
from perwatt_aggregator.answers.ledger.ledger import ledger
from perwatt_aggregator.answers.prometheus_targets import prometheus_targets
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.facility.facility import Facility
from perwatt_aggregator.facility.shared_meter import SharedMeter
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet.groups import EVERYTHING, Where
from perwatt_aggregator.fleet.members import Members
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.fleet.readings import Readings
from perwatt_aggregator.fleet.shared_meter_allocation import allocate
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.history.history import History
from perwatt_aggregator.history.recorder import VIEW_SECONDS, Recorder
from perwatt_aggregator.history.values import Tick
from perwatt_aggregator.readings.duplicates import Duplicates
from perwatt_aggregator.readings.node_memory import NodeMemory
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.objectives import Objectives
from perwatt_aggregator.readings_source import readings_source
from perwatt_aggregator.schema.capacity import Capacity
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary, Dimension, Source
from perwatt_aggregator.schema.compute import Compute
from perwatt_aggregator.schema.discovery import PrometheusTargets
from perwatt_aggregator.schema.efficiency import Efficiency
from perwatt_aggregator.schema.facility import Facilities
from perwatt_aggregator.schema.inventory import Gpus, Nodes, Workloads
from perwatt_aggregator.schema.ledger import Ledger
from perwatt_aggregator.scraping.event_log import EventLog
from perwatt_aggregator.scraping.scraper import Scraper
from perwatt_aggregator.targets.discovery import Discovery
from perwatt_aggregator.targets.source import TargetSource
from perwatt_aggregator.targets.target import Target

logger = logging.getLogger(__name__)

HISTORY_SECONDS = 900.0
"""The history of each node, which is the longest window that can be requested."""
DEFAULT_WINDOW_SECONDS = 60.0


class Aggregator:
    """
    Scrapes the agents that *config* names or discovers, and answers at any time from the readings so far.

    *memory* is what is known of the nodes from before; by default nothing. *history* is where sums are kept;
    by default nowhere. Raises ValueError if a meter cannot be built.
    """

    def __init__(
        self,
        config: AggregatorConfig,
        clock: Clock,
        memory: NodeMemory | None = None,
        history: History | None = None,
    ) -> None:
        self._memory = memory or NodeMemory()
        self._config = config
        self.past = Past(history, config.labels, clock)
        self._objectives = Objectives(config.slo)
        self._clock = clock
        self._members = Members(self._node, config.facility_of, HISTORY_SECONDS)
        self._fleet: Members | Readings = self._members
        self._source = readings_source(config, clock, self._objectives)
        self._discovery = Discovery(config.sources, clock, self._follow_targets)
        self.shared_meters = tuple(
            SharedMeter(one, build_meter(one, clock), clock, HISTORY_SECONDS) for one in config.meters
        )
        self._recorder = Recorder(self._share if self.shared_meters else None)
        saved = (history.saved_events, history.add_event) if history is not None else ()
        self.events = EventLog(f"{int(clock.unix() * 1000):x}", *saved)
        self._scraper = Scraper((), config.scrape_interval, clock, self.events.follow)
        self._polling: list[asyncio.Task[None]] = []
        self.source: Source = "agents"
        self._duplicates = Duplicates()
        self._was_whole = False
        self._without_facility: frozenset[str] = frozenset()
        self.facilities: tuple[Facility, ...] = ()
        self._follow_targets()
        self.facilities = tuple(
            Facility(one, clock, *self._of_facility(one)) for one in config.all_facilities
        )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that are named now."""
        return self._fleet.nodes

    @property
    def target_sources(self) -> tuple[TargetSource, ...]:
        """The sources of targets, with their health."""
        return self._discovery.sources

    @property
    def is_whole(self) -> bool:
        """Whether every source of targets has been read, so that all nodes are known."""
        return self._fleet.is_whole and not self._discovery.unknown

    async def reload(self, config: AggregatorConfig) -> None:
        """Take over the `sources` of *config*; nodes that stay keep their readings."""
        if replace(config, sources=self._config.sources) != self._config:
            logger.warning("of the configuration only `sources` was read again; restart perwatt for the rest")
        if config.sources.prometheus != self._config.sources.prometheus:
            logger.warning("`sources.prometheus` has changed; restart perwatt for it")
            return
        self._discovery = await self._discovery.succeeded_by(config.sources)
        self._config = replace(self._config, sources=config.sources)
        self._follow_targets()

    def _node(self, target: Target, facility: FacilityConfig) -> Node:
        config = self._config
        ring = NodeRing(HISTORY_SECONDS, config.scrape_interval)
        return Node(target, ring, facility, config.uncertainty, self._objectives, self._memory)

    async def over(self, seconds: float, where: Where = EVERYTHING) -> "Aggregator":
        """This one, or one over the readings of another source. Raises PrometheusFailed, TooManyReadings."""
        if self._source is None:
            return self
        readings = await self._source.read(seconds, where, lambda node: node_matches(node, where))
        other = copy(self)
        other._fleet, other._clock, other.source = readings, readings.clock, readings.source
        return other

    def _follow_targets(self) -> None:
        """Make the fleet what the targets are now."""
        now, unix = self._clock.monotonic(), self._clock.unix()
        self._members.follow(self._placed_targets(), now, unix, joins=self._was_whole)
        self._was_whole = self.is_whole
        self._scraper.follow(self.nodes)
        for facility in self.facilities:
            facility.follow(*self._of_facility(facility.config))

    def _placed_targets(self) -> tuple[Target, ...]:
        """The targets that are in a facility; the others are logged once."""
        targets = self._discovery.targets
        without = {one.node for one in targets if not self._config.has_facility(one.node)}
        for node in sorted(without - self._without_facility):
            logger.warning("%s is left out: no facility has it; add it to the `nodes` of one", node)
        self._without_facility = frozenset(without)
        return tuple(one for one in targets if one.node not in without)

    def _of_facility(self, config: FacilityConfig) -> tuple[list[Node], list[SharedMeter], list[Node]]:
        """The nodes of a facility, the shared meters that cover no other nodes, and the other nodes."""
        nodes = [node for node in self.nodes if node.facility is config]
        elsewhere = [node for node in self.nodes if node.facility is not config]
        shared = [
            meter
            for meter in self.shared_meters
            if any(meter.covers_node(node.target.node) for node in nodes)
            and not any(meter.covers_node(node.target.node) for node in elsewhere)
        ]
        return nodes, shared, elsewhere

    async def start(self) -> None:
        """Start scraping, polling and saving; must be called on a running loop."""
        await self._scraper.start()
        await self._discovery.start()
        self._polling = [
            asyncio.create_task(poller.run(), name=f"poll {poller.input.name} of {facility.config.name}")
            for facility in self.facilities
            for poller in facility.pollers
        ]
        self._polling += [
            asyncio.create_task(meter.run(), name=f"poll {meter.name}") for meter in self.shared_meters
        ]
        self._polling.append(asyncio.create_task(self._memory.run(), name="save nodes"))
        if (history := self.past.history) is not None:
            self._polling.append(asyncio.create_task(history.run(self.tick), name="record history"))

    async def stop(self) -> None:
        """Stop scraping and polling; answers remain possible."""
        for task in self._polling:
            task.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)
        self._polling = []
        await self._discovery.stop()
        await self._scraper.stop()
        if self._source is not None:
            await self._source.close()

    def efficiency(
        self,
        seconds: float = DEFAULT_WINDOW_SECONDS,
        by: Sequence[Dimension] = (),
        boundaries: Sequence[Boundary] = BOUNDARIES,
        where: Where = EVERYTHING,
    ) -> Efficiency:
        """Tokens per joule over the last *seconds*. Raises TooManyGroups, as all answers by groups do."""
        items = efficiency(self.views(seconds), by, boundaries, where, is_whole=self.is_whole)
        return Efficiency(by=tuple(by), items=items)

    def ledger(
        self,
        seconds: float = DEFAULT_WINDOW_SECONDS,
        by: Sequence[Dimension] = (),
        where: Where = EVERYTHING,
    ) -> Ledger:
        """The ledger of all joules of the last *seconds*."""
        return Ledger(by=tuple(by), items=ledger(self.views(seconds), by, where, is_whole=self.is_whole))

    def compute(
        self,
        seconds: float = DEFAULT_WINDOW_SECONDS,
        by: Sequence[Dimension] = ("workload",),
        where: Where = EVERYTHING,
    ) -> Compute:
        """The chain from peak to useful compute over the last *seconds*."""
        items = compute(self.views(seconds), by, self._config.compute, where, is_whole=self.is_whole)
        return Compute(by=tuple(by), items=items)

    def capacity(
        self,
        seconds: float = DEFAULT_WINDOW_SECONDS,
        by: Sequence[Dimension] = ("model",),
        kw: float | None = None,
        where: Where = EVERYTHING,
    ) -> Capacity:
        """Output tokens now, and at a budget of *kw* at each boundary."""
        items = capacity(self.views(seconds), by, kw, where, is_whole=self.is_whole)
        return Capacity(by=tuple(by), kw=kw, items=items)

    def views(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> tuple[NodeView, ...]:
        """The view of every node over the last *seconds*, with the state of its facility."""
        return self._views(seconds, self.facility_states(seconds))

    def facility_states(self, seconds: float = DEFAULT_WINDOW_SECONDS) -> tuple[FacilityState, ...]:
        """The state of every facility over the last *seconds*."""
        now = self._clock.unix()
        return tuple(facility.state(now - seconds, now) for facility in self.facilities)

    def facility_answer(
        self, seconds: float = DEFAULT_WINDOW_SECONDS, where: Where = EVERYTHING
    ) -> Facilities:
        """Every facility: its PUE, rates and energy."""
        states = self.facility_states(seconds)
        views = self._views(seconds, states)
        items = (
            facility_item(facility, state, self.nodes, views, is_whole=self.is_whole)
            for facility, state in zip(self.facilities, states, strict=True)
        )
        return Facilities(items=tuple(item for item in items if matches(item, where)))

    def _views(self, seconds: float, states: Sequence[FacilityState]) -> tuple[NodeView, ...]:
        now = self._clock.monotonic()
        by_name = {state.name: state for state in states}
        doubles = self.duplicates()
        members = (*self._fleet.ended(now), *self.nodes)
        found = (
            node.duplicate_view(now, by_name[node.facility.name])
            if node.target.node in doubles
            else node.view(seconds, now, by_name[node.facility.name])
            for node in members
        )
        return self._share(tuple(view for view in found if view is not None), seconds)

    def _share(self, found: Sequence[NodeView], seconds: float = VIEW_SECONDS) -> tuple[NodeView, ...]:
        """The views, with the joules of shared meters divided among those that these cover."""
        now = self._clock.monotonic()
        views = {view.node: view for view in found}
        doubles = self._duplicates.found
        members = (*self._fleet.ended(now), *self.nodes)
        for meter in self.shared_meters:
            # A node may be covered by its other address.
            names = [node.target.node for node in members if meter.covers_node(node.target.node)]
            covered = {doubles.get(name, name) for name in names}
            under = [view for view in views.values() if view.node in covered]
            reading = meter.reading(now - seconds, now)
            views |= {view.node: view for view in allocate(under, reading, seconds, self._config.uncertainty)}
        return tuple(views.values())

    async def tick(self, start: int, seconds: int) -> Tick:
        """What all nodes used and did since the tick before, for the history."""
        now = self._clock.monotonic()
        nodes = (*self._members.ended(now), *self.nodes)
        states = {state.name: state for state in self.facility_states(float(seconds))}
        return await self._recorder.tick(start, seconds, now, nodes, self.duplicates(), states)

    def duplicates(self) -> dict[str, str]:
        """The nodes that are left out of all sums, each with the node that shows the same; logged once."""
        return self._duplicates.of(self.nodes, self._clock.monotonic())

    def node_answer(self, seconds: float = DEFAULT_WINDOW_SECONDS, where: Where = EVERYTHING) -> Nodes:
        """Every agent, and its scrape health."""
        items = node_items(self._nodes(where), seconds, self._clock.monotonic(), self.duplicates())
        return Nodes(items=items, sources=source_items(self.target_sources))

    def gpu_answer(self, seconds: float = DEFAULT_WINDOW_SECONDS, where: Where = EVERYTHING) -> Gpus:
        """Every GPU."""
        items = gpu_items(self._nodes(where), seconds, self._clock.monotonic())
        return Gpus(items=tuple(item for item in items if matches(item, where)))

    def workload_answer(
        self, seconds: float = DEFAULT_WINDOW_SECONDS, where: Where = EVERYTHING
    ) -> Workloads:
        """Every workload."""
        items = workload_items(self._nodes(where), seconds, self._clock.monotonic())
        return Workloads(items=tuple(item for item in items if matches(item, where)))

    def prometheus_targets(self, where: Where = EVERYTHING) -> tuple[PrometheusTargets, ...]:
        """The agents, in the format of Prometheus's HTTP service discovery."""
        return prometheus_targets(node.target for node in self._nodes(where))

    @property
    def labels(self) -> tuple[str, ...]:
        """The target labels that are dimensions."""
        return self._config.labels

    @property
    def unix_seconds(self) -> float:
        """The time of the aggregator's clock."""
        return self._clock.unix()

    @property
    def scrape_interval_seconds(self) -> float:
        return self._config.scrape_interval

    def _nodes(self, where: Where) -> tuple[Node, ...]:
        """The nodes that *where* keeps, by their name, facility and labels."""
        return tuple(node for node in self.nodes if node_matches(node, where))
