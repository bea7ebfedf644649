"""Energies of a live PUE, read from a meter or from the nodes' own meters."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from perwatt_agent.accounting.plausibility import MAX_WATTS
from perwatt_agent.clock import Clock
from perwatt_agent.meters.meter import Meter, MeterFailure
from perwatt_aggregator.facility.history import EnergyHistory
from perwatt_aggregator.facility.meter_intervals import Interval, MeterIntervals, PlausibilityCheck
from perwatt_aggregator.optional import complete_total
from perwatt_aggregator.readings.agent import Agent
from perwatt_aggregator.readings.duplicates import Duplicates, read_one_gpu
from perwatt_aggregator.readings.sample import MODEL, NODE_COVERED, NODE_ENERGY, NodeSample
from perwatt_aggregator.schema.facility import SourceName

NODES_SECONDS = 10.0
_UNCOVERED_RATIO = 0.05


class MeteredEnergy:
    """The energy of one meter, as an `Input`."""

    def __init__(self, name: SourceName, meter: Meter, period_seconds: float) -> None:
        self.name: SourceName = name
        self.interval_seconds = meter.interval_seconds
        self._history = EnergyHistory(period_seconds)
        self._meter = meter
        self._intervals = MeterIntervals()

    @property
    def histories(self) -> Sequence[EnergyHistory]:
        return (self._history,)

    @property
    def joules_total(self) -> float | None:
        """Joules since the start; None without a reading."""
        return self._history.joules_total if self._history.first_seconds is not None else None

    async def read(self) -> None:
        for sample in await self._meter.read():
            if sample.scope == "node":
                _add(self._history, self._intervals.add(sample))


class SharedEnergy(Protocol):
    """A meter that covers several nodes. `intervals_after` gives its energy since an instant."""

    @property
    def name(self) -> str: ...

    @property
    def is_up(self) -> bool: ...

    def covers_node(self, node: str) -> bool: ...

    def intervals_after(self, seconds: float) -> Iterable[Interval]: ...


class NodesEnergy:
    """
    The energy of all *nodes* of a facility, as an `Input`.

    Nodes under one of the meters in *shared* are measured together by it, each other node by its own node
    meter. The meters in *shared* must cover only nodes of the facility.

    A node that shows what another node shows already is the same machine, and does not count. If that other
    node is *elsewhere*, or if their GPU answers only one of them, it is not known what the meters of the two
    measure: then nothing is measured.
    """

    def __init__(
        self,
        name: SourceName,
        nodes: Sequence[Agent],
        period_seconds: float,
        clock: Clock,
        shared: Sequence[SharedEnergy] = (),
        elsewhere: Sequence[Agent] = (),
    ) -> None:
        self.name: SourceName = name
        self.interval_seconds = NODES_SECONDS
        self._clock = clock
        self._period_seconds = period_seconds
        self._shared: list[tuple[SharedEnergy, EnergyHistory]] = []
        self._own: list[_NodeEnergy] = []
        self._ended: list[EnergyHistory] = []
        self._forgotten_joules = 0.0
        self._doubles = Duplicates()
        self._same: dict[str, str] = {}
        self._ambiguous: tuple[str, str] | None = None
        self._set(nodes, shared, elsewhere, begin_seconds=-math.inf)

    @property
    def histories(self) -> Sequence[EnergyHistory]:
        if self._ambiguous:
            return ()
        current = (*(history for _, history in self._shared), *(one.history for one in self._counted))
        return (*current, *self._ended)

    @property
    def joules_total(self) -> float | None:
        """Joules since the start, which never fall; None unless all of IT is measured."""
        counted = complete_total(
            None if history.is_unread else history.joules_total for history in self.histories
        )
        if counted is None:
            return None
        others = sum(one.history.joules_total for one in self._own if one not in self._counted)
        return counted + others + self._forgotten_joules

    def follow(
        self, nodes: Sequence[Agent], shared: Sequence[SharedEnergy], elsewhere: Sequence[Agent]
    ) -> None:
        """Take over *nodes* and *shared* meters: new ones begin now, and others end."""
        now = self._clock.monotonic()
        meters, own = self._shared, self._own
        self._set(nodes, shared, elsewhere, begin_seconds=now)
        ended = [history for meter, history in meters if all(meter is not one for one, _ in self._shared)]
        ended += [one.history for one in own if one not in self._own]
        for history in ended:
            history.end_seconds = now
        for history in (*self._ended, *ended):
            if now - history.end_seconds >= self._period_seconds:
                self._forgotten_joules += history.joules_total
        self._ended = [
            history for history in (*self._ended, *ended) if now - history.end_seconds < self._period_seconds
        ]

    def _set(
        self,
        nodes: Sequence[Agent],
        shared: Sequence[SharedEnergy],
        elsewhere: Sequence[Agent],
        begin_seconds: float,
    ) -> None:
        under = [node for node in nodes if any(meter.covers_node(node.target.node) for meter in shared)]
        meters = {id(meter): (meter, history) for meter, history in self._shared}
        own = {id(one.node): one for one in self._own}
        period = self._period_seconds
        self._shared = [
            meters.get(id(meter)) or (meter, EnergyHistory(period, begin_seconds)) for meter in shared
        ]
        alone = [node for node in nodes if node not in under]
        self._own = [
            own.get(id(node)) or _NodeEnergy(node, EnergyHistory(period, begin_seconds)) for node in alone
        ]
        self._elsewhere = elsewhere
        # The first of two that are the same counts: one under a shared meter always does.
        self._agents = (*elsewhere, *under, *alone)

    async def read(self) -> None:
        self._find_duplicates()
        for meter, history in self._shared:
            begun = history.last_seconds
            _add(history, meter.intervals_after(float("-inf") if begun is None else begun))
        for one in self._own:
            if one.node.target.node in self._same:
                one.pause()
            else:
                one.read()
        self._check_complete()

    def _find_duplicates(self) -> None:
        """Find the nodes that are another node; they stay so while one of the two does not answer."""
        now = self._clock.monotonic()
        agents = {agent.target.node: agent for agent in self._agents}
        silent = {node for node, agent in agents.items() if agent.is_stale(now)}
        found = self._doubles.of(self._agents, now)
        still = {one: other for one, other in self._same.items() if not silent.isdisjoint((one, other))}
        known = self._same.items()
        elsewhere = {agent.target.node for agent in self._elsewhere}
        self._same = still | found
        self._ambiguous = next(
            (
                (one, other)
                for one, other in self._same.items()
                if len(elsewhere.intersection((one, other))) == 1
                or ((one, other) not in known and not read_one_gpu(agents[one], agents[other]))
            ),
            None,
        )
        if self._ambiguous:
            self._same.pop(self._ambiguous[0])

    @property
    def _counted(self) -> list["_NodeEnergy"]:
        return [one for one in self._own if one.node.target.node not in self._same]

    def _check_complete(self) -> None:
        """Raises MeterFailure if not all of IT is measured."""
        if self._ambiguous:
            node, other = self._ambiguous
            raise MeterFailure(
                "implausible",
                f"{node} shows an agent or a GPU of {other}, and it is not known what their meters measure; "
                "remove one of them from `sources.agents`",
            )
        down = [meter.name for meter, _ in self._shared if not meter.is_up]
        if down:
            raise MeterFailure("stale", f"the meter {down[0]} over several nodes gave no reading")
        counted = self._counted
        unread = [one for one in counted if one.node.sample is None and one.history.is_unread]
        if unread:
            raise MeterFailure("stale", f"of {len(counted)} nodes {len(unread)} gave no reading yet")
        unmetered = [one.node.target.node for one in counted if one.node.sample and not one.is_metered]
        if unmetered:
            raise MeterFailure(
                "absent",
                f"of {len(counted)} nodes {len(unmetered)} have no node meter ({unmetered[0]}); "
                "configure one on each node, or set facility.pue.it_meter",
            )


class _NodeEnergy:
    """The energy of one node, from its own meter."""

    def __init__(self, node: Agent, history: EnergyHistory) -> None:
        self.node = node
        self.history = history
        self._intervals = _NodeIntervals()

    @property
    def is_metered(self) -> bool:
        return self._intervals.is_metered

    def read(self) -> None:
        if self.node.sample is not None:
            _add(self.history, self._intervals.add(self.node.sample))

    def pause(self) -> None:
        """Leave out the time until the next read: it is counted elsewhere."""
        self._intervals = _NodeIntervals()


def _add(history: EnergyHistory, intervals: Iterable[Interval]) -> None:
    for one in intervals:
        history.add(one.start_seconds, one.end_seconds, one.joules)


class _NodeIntervals:
    """
    Intervals of energy from the counters of one node, which move when its meter is refreshed.

    The time that its joules cover may lag behind the time of a sample by one period of the meter. Their mean
    power is therefore applied to the time between two samples.
    """

    def __init__(self) -> None:
        self.is_metered = False
        self._last: tuple[float, dict[str, float], dict[str, float]] | None = None
        self._plausible = PlausibilityCheck(MAX_WATTS["node"])

    def add(self, sample: NodeSample) -> Iterator[Interval]:
        energy, covered = _by_source(sample, NODE_ENERGY), _by_source(sample, NODE_COVERED)
        self.is_metered = bool(energy)
        now = sample.monotonic_seconds
        if self._last is None or _has_reset(self._last[1], energy):
            self._last = (now, energy, covered)
            return
        since, energy_before, covered_before = self._last
        joules, seconds = _gain(energy_before, energy), _gain(covered_before, covered)
        if now <= since or seconds <= 0.0:
            return
        self._last = (now, energy, covered)
        elapsed, watts = now - since, joules / seconds
        is_whole = elapsed - seconds <= _UNCOVERED_RATIO * elapsed + _period_seconds(sample, energy)
        if is_whole and self._plausible.accepts(watts):
            yield Interval(since, now, watts * elapsed)


def _period_seconds(sample: NodeSample, sources: Iterable[str]) -> float:
    """Seconds between the meter's own readings; the polling interval if they are not known."""
    return max(sample.meter_periods.get(source, NODES_SECONDS) for source in sources)


def _by_source(sample: NodeSample, name: str) -> dict[str, float]:
    return {
        counter.part: value
        for counter, value in sample.counters.items()
        if counter.name == name and counter.part != MODEL
    }


def _has_reset(before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether the node has another meter now, or its agent was restarted."""
    return before.keys() != after.keys() or any(after[name] < was for name, was in before.items())


def _gain(before: dict[str, float], after: dict[str, float]) -> float:
    """The increase over all sources."""
    return sum(after.get(name, was) - was for name, was in before.items())
