"""Energies of a live PUE, read from a meter or from the nodes' own meters."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from perwatt_agent.meters.meter import Meter, MeterFailure
from perwatt_aggregator.facility.history import EnergyHistory
from perwatt_aggregator.facility.meter_intervals import Interval, MeterIntervals, PlausibilityCheck
from perwatt_aggregator.readings.agent import Agent
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
    """

    def __init__(
        self,
        name: SourceName,
        nodes: Sequence[Agent],
        period_seconds: float,
        shared: Sequence[SharedEnergy] = (),
    ) -> None:
        self.name: SourceName = name
        self.interval_seconds = NODES_SECONDS
        self._shared = [(meter, EnergyHistory(period_seconds)) for meter in shared]
        self._nodes = [
            (node, _NodeIntervals(), EnergyHistory(period_seconds))
            for node in nodes
            if not any(meter.covers_node(node.target.node) for meter in shared)
        ]

    @property
    def histories(self) -> Sequence[EnergyHistory]:
        return (*(history for _, history in self._shared), *(history for _, _, history in self._nodes))

    async def read(self) -> None:
        for meter, history in self._shared:
            begun = history.last_seconds
            _add(history, meter.intervals_after(float("-inf") if begun is None else begun))
        for node, intervals, history in self._nodes:
            if node.sample is not None:
                _add(history, intervals.add(node.sample))
        self._check_complete()

    def _check_complete(self) -> None:
        """Raises MeterFailure if not all of IT is measured."""
        down = [meter.name for meter, _ in self._shared if not meter.is_up]
        if down:
            raise MeterFailure("stale", f"the meter {down[0]} over several nodes gave no reading")
        unread = [node.target.node for node, _, _ in self._nodes if node.sample is None]
        if unread:
            raise MeterFailure("stale", f"of {len(self._nodes)} nodes {len(unread)} gave no reading yet")
        unmetered = [node.target.node for node, intervals, _ in self._nodes if not intervals.is_metered]
        if unmetered:
            raise MeterFailure(
                "absent",
                f"of {len(self._nodes)} nodes {len(unmetered)} have no node meter ({unmetered[0]}); "
                "configure one on each node, or set facility.pue.it_meter",
            )


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
        self._plausible = PlausibilityCheck()

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
