"""Nodes with their readings, from the raw samples that a Prometheus has of their agents."""

import asyncio
import logging
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.net.prometheus_text import Series
from perwatt_aggregator.fleet.groups import Where
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.fleet.readings import Keeps, Readings
from perwatt_aggregator.prometheus.client import SETTING, Matrix, PrometheusClient, TooManySamples
from perwatt_aggregator.prometheus.promql import one_of, raw
from perwatt_aggregator.prometheus.scrapes import (
    SNAPSHOT,
    UP,
    Scrape,
    ScrapedTarget,
    TargetKey,
    key_of,
    scrapes_of,
    targets_of,
)
from perwatt_aggregator.readings.facts import BadValue, WorkloadFacts
from perwatt_aggregator.readings.node_ring import HistoryFull, TooManySeries
from perwatt_aggregator.readings.objectives import Objectives
from perwatt_aggregator.readings.page_reader import WANTED, NotAnAgent, sample_of_series
from perwatt_aggregator.readings.sample import BUCKETS, WORKLOAD_COVERED, Counter
from perwatt_aggregator.targets.target import Target

logger = logging.getLogger(__name__)

MAX_READINGS = 2000
"""Of all nodes of one request; each takes about two milliseconds of a processor."""
INVENTORY_MARGIN_SECONDS = 300.0
"""A target that was scraped within this time before the window belongs to the fleet."""
_BATCH_READINGS = 64
_MARGIN_INTERVALS = 4.0
_MIN_MARGIN_SECONDS = 60.0
_WORKLOAD_INFO = "perwatt_workload_info"
_FAILED_SCRAPE = "scrape_failed"

T = TypeVar("T")
Build = Callable[[Target, float, float], Node | None]
"""A node for a target, whose scrapes are so many seconds apart and go back so far; None if it is left out."""


class TooManyReadings(Exception):
    """The request needs more readings than one may; the message says what is allowed."""


class FrozenClock:
    """A clock that stands still at the instant of a request."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic, self._unix = clock.monotonic(), clock.unix()

    def monotonic(self) -> float:
        return self._monotonic

    def unix(self) -> float:
        return self._unix

    async def sleep_until(self, monotonic_seconds: float) -> None:
        raise RuntimeError("the clock of an answer stands still")


class RawPlan(Struct, frozen=True):
    """
    What is read and how: the *selector* of the agents' series, how to *build* a node.

    `is_divided` if nodes share a meter: then a request needs all of them.
    """

    selector: str
    build: Build
    objectives: Objectives
    default_interval_seconds: float
    is_divided: bool = False

    @property
    def names(self) -> Collection[str]:
        return WANTED if self.objectives else WANTED - BUCKETS


class RawNodes:
    """The nodes of one request, at one instant. Errors are those of PrometheusClient, and TooManyReadings."""

    def __init__(self, plan: RawPlan, client: PrometheusClient, clock: Clock, seconds: float) -> None:
        self._plan = plan
        self._client = client
        self._clock = FrozenClock(clock)
        self._seconds = seconds
        self._targets: Mapping[TargetKey, ScrapedTarget] = {}
        self._nodes: dict[TargetKey, Node] = {}
        self._has_warnings = False

    async def read(self, where: Where, keeps: Keeps) -> Readings:
        """The nodes that an answer with the filters *where* needs, with their readings."""
        range_seconds = self._seconds + INVENTORY_MARGIN_SECONDS
        found = await self._raw([one_of("__name__", (UP, SNAPSHOT))], range_seconds)
        self._targets = self._checked(lambda: targets_of(found.rows))
        self._nodes = dict(self._build_all())
        wanted = set(self._nodes)
        if not self._plan.is_divided:
            wanted = {key for key in wanted if keeps(self._nodes[key])}
            workloads = where.get("workload", frozenset())
            if workloads and "" not in workloads:
                wanted &= await self._having(WORKLOAD_COVERED, "workload", workloads)
        await self._fill(wanted)
        others = self._nodes.keys() - wanted
        groups = {one.group for key in wanted for one in _workloads(self._nodes[key]) if one.group}
        if others and groups:
            # A figure of an engine over several nodes needs all of its members.
            more = others & await self._having(_WORKLOAD_INFO, "group", groups)
            await self._fill(more)
            wanted |= more
        nodes = tuple(node for key, node in self._nodes.items() if key in wanted)
        if self._has_warnings:
            for node in nodes:
                node.source_reasons = ("source_warning",)
        is_whole = all(target.up is not None for target in self._targets.values())
        return Readings("prometheus:raw", self._clock, nodes, is_whole=is_whole)

    def _build_all(self) -> Iterator[tuple[TargetKey, Node]]:
        instances = Tally(key.instance for key in self._targets)
        for key, target in self._targets.items():
            name = key.instance if instances[key.instance] == 1 else f"{key.job}/{key.instance}"
            interval = target.interval_seconds(self._plan.default_interval_seconds)
            history = max(self._margin(target) + self._seconds, len(target.times) * interval)
            node = self._plan.build(Target(name, "", target.labels), interval, history)
            if node is not None:
                yield key, node

    def _margin(self, target: ScrapedTarget) -> float:
        """So long before the window begins what a window also needs: the reading before, and what waited."""
        interval = target.interval_seconds(self._plan.default_interval_seconds)
        return min(max(_MIN_MARGIN_SECONDS, _MARGIN_INTERVALS * interval), INVENTORY_MARGIN_SECONDS)

    async def _having(self, name: str, label: str, values: Iterable[str]) -> set[TargetKey]:
        """The targets with a series of this name, whose *label* is one of *values*."""
        matchers = [f'__name__="{name}"', one_of(label, values)]
        found = await self._raw(matchers, self._seconds + _MIN_MARGIN_SECONDS)
        return {key_of(row) for row in found.rows}

    async def _fill(self, wanted: Collection[TargetKey]) -> None:
        """Add the readings of the *wanted* nodes, a batch of nodes at a time."""
        self._check_readings(wanted)
        batch: list[TargetKey] = []
        readings = 0
        for key in (key for key in self._nodes if key in wanted):
            batch.append(key)
            readings += len(self._times(key))
            if readings >= _BATCH_READINGS:
                await self._fill_batch(batch)
                batch, readings = [], 0
        if batch:
            await self._fill_batch(batch)

    def _times(self, key: TargetKey) -> Sequence[float]:
        target = self._targets[key]
        start = self._clock.unix() - self._seconds - self._margin(target)
        return [one for one in target.times if one > start]

    def _check_readings(self, wanted: Collection[TargetKey]) -> None:
        count = sum(len(self._times(key)) for key in wanted)
        if count <= MAX_READINGS:
            return
        seconds, margin = self._seconds, max(self._margin(self._targets[key]) for key in wanted)
        allowed = (seconds + margin) * MAX_READINGS / count - margin
        shorter = f"a window of at most {allowed:.0f} s, or " if allowed >= 10.0 else ""
        raise TooManyReadings(
            f"expected {shorter}a filter by node, workload or label: {len(wanted)} nodes have {count} "
            f"readings in {seconds:g} s and the {margin:g} s before; one answer takes at most {MAX_READINGS}"
        )

    async def _fill_batch(self, keys: Sequence[TargetKey]) -> None:
        matchers = [
            one_of("__name__", self._plan.names),
            one_of("instance", {key.instance for key in keys}),
        ]
        margin = max(self._margin(self._targets[key]) for key in keys)
        found = await self._raw(matchers, self._seconds + margin)
        scrapes = self._checked(lambda: scrapes_of(found.rows, {key: self._targets[key] for key in keys}))
        for key in keys:
            await self._add(self._nodes[key], self._targets[key], scrapes.get(key, ()))

    async def _add(self, node: Node, target: ScrapedTarget, scrapes: Iterable[Scrape]) -> None:
        known: dict[Series, Counter] = {}
        failure = own = _FAILED_SCRAPE if target.up is False else None
        to_monotonic = self._clock.monotonic() - self._clock.unix()
        for scrape in scrapes:
            try:
                monotonic = scrape.unix_seconds + to_monotonic
                sample = sample_of_series(scrape.series, monotonic, known, self._plan.objectives)
                node.add(sample, scrape.unix_seconds)
                failure = own
            except NotAnAgent:
                failure = "not_an_agent"
            except TooManySeries:
                failure = "too_many_series"
            except HistoryFull:
                failure = "history_full"
            except BadValue:
                failure = "bad_value"
            # Readings of many nodes hold up no other request.
            await asyncio.sleep(0)
        if node.sample is None and failure is None:
            failure = "not_an_agent"
        if failure is not None:
            node.fail(failure)

    def _checked(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except ValueError as error:
            raise self._client.failed(f"a sample is no number: {error}") from None

    async def _raw(self, matchers: Sequence[str], seconds: float) -> Matrix:
        expression = raw(self._plan.selector, matchers, seconds)
        try:
            found = await self._client.raw(expression, self._clock.unix())
        except TooManySamples as error:
            raise TooManyReadings(
                f"expected a shorter window than {self._seconds:g} s, or a filter by node, workload or "
                f"label: {error}"
            ) from None
        if found.warnings and not self._has_warnings:
            logger.warning(
                "figures are not valid: `%s.url` warns: %s", SETTING, "; ".join(found.warnings)[:300]
            )
            self._has_warnings = True
        return found


def _workloads(node: Node) -> Iterable[WorkloadFacts]:
    return node.sample.workloads.values() if node.sample else ()
