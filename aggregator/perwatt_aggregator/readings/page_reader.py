"""Page reader: an agent's metrics page, or a Snapshot, becomes a sample."""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress

from perwatt_agent.facts.engine_counts import Histogram
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_agent.net.prometheus_text import PageParser, Series
from perwatt_aggregator.readings.bounds import (
    BOUNDS,
    MAX_PERIOD_SECONDS,
    is_possible,
)
from perwatt_aggregator.readings.facts import (
    GPU_FACTS,
    MAX_CALIBRATION_RATIO,
    MAX_GPUS,
    MAX_WORKLOADS,
    MIN_CALIBRATION_RATIO,
    TENSOR,
    WORKLOAD_FACTS,
    BadValue,
    Facts,
    checked,
    gpu_count,
    gpus_of,
    workloads_of,
)
from perwatt_aggregator.readings.node_ring import MAX_SERIES, TooManySeries
from perwatt_aggregator.readings.objectives import NO_OBJECTIVES, Objectives, SloConfig, bounds_around
from perwatt_aggregator.readings.sample import (
    BUCKETS,
    COUNTERS,
    GPU_ENERGY,
    PIPE_CYCLES,
    TIME_TO_FIRST_TOKEN,
    Counter,
    NodeSample,
)
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.family import Family
from perwatt_exporter.page.render import format_value

MAX_LINES = 50_000
"""Of a page. The page of 128 GPUs in full detail has 8,000."""
MAX_PAGE_SERIES = MAX_SERIES + 4096
"""Counters and facts that may be kept of one page; buckets of latencies are chosen among them."""
MAX_UNIX_SECONDS = 2.5e11
"""In the year 9892: answers write years of four digits."""
SPARE_SERIES = 256
_TIMESTAMP = "perwatt_snapshot_timestamp_seconds"
_AGENT_INFO = "perwatt_agent_info"
_BACKEND_INFO = "perwatt_backend_info"
_BACKEND_UP = "perwatt_backend_up"
_GPUS = "perwatt_gpus"
_EVENTS = "perwatt_events_total"
_FAILURES = "perwatt_collector_failures_total"
_IN_TURN = "several_processes"
_METER_PERIOD = "perwatt_node_meter_period_seconds"
_PROCESS_START = "process_start_time_seconds"
_CALIBRATION = "perwatt_gpu_energy_calibration_ratio"
_NODE_FACTS = (
    _PROCESS_START,
    _TIMESTAMP,
    _AGENT_INFO,
    _BACKEND_INFO,
    _BACKEND_UP,
    _GPUS,
    _EVENTS,
    _FAILURES,
    _METER_PERIOD,
)
WANTED = frozenset((*COUNTERS, *_NODE_FACTS, *GPU_FACTS, *WORKLOAD_FACTS))


def families(objectives: Objectives) -> tuple[Family[Snapshot], ...]:
    """The agent's families with series that are kept; histograms only if there are *objectives*."""
    wanted = WANTED if objectives else WANTED - BUCKETS
    return tuple(family for family in ALL if {family.name, f"{family.name}_bucket"} & wanted)


class NotAnAgent(Exception):
    """The page has metrics, but none of a perwatt agent."""


class PageReader:
    """
    Reads the pages of one agent, with a cache of the counter of each series.

    Of latency buckets, only those next to *objectives* are kept.
    """

    def __init__(self, objectives: Objectives = NO_OBJECTIVES) -> None:
        self._objectives = objectives
        # An agent writes each family below its TYPE line, so that families that are not kept can be skipped.
        heads = {head for family in families(objectives) for head in (family.name, family.stem)}
        heads.add(_PROCESS_START)
        self._parser = PageParser(WANTED, families=heads, max_lines=MAX_LINES)
        self._known: dict[Series, Counter] = {}

    def read(self, page: bytes, monotonic_seconds: float) -> NodeSample:
        """The sample of *page*. Raises PageError, NotAnAgent, BadValue or TooManySeries."""
        *_, sample = self.slices(page, monotonic_seconds)
        assert sample is not None
        return sample

    def slices(self, page: bytes, monotonic_seconds: float) -> Iterator[NodeSample | None]:
        """The same in slices, between which the caller may do other work: None for each, then the sample."""
        series: list[tuple[Series, float]] = []
        for series in self._parser.slices(page):
            if len(series) > MAX_PAGE_SERIES:
                raise TooManySeries(f"more than {MAX_PAGE_SERIES} series")
            yield None
        yield self._sample(series, monotonic_seconds)

    def _sample(self, series: list[tuple[Series, float]], monotonic_seconds: float) -> NodeSample:
        sample = _assemble(series, monotonic_seconds, self._known, self._objectives)
        # Series come and go with workloads: an overgrown cache is cleared, so that old series do not stay.
        if len(self._known) > 2 * len(series) + SPARE_SERIES:
            self._known.clear()
        return sample


def sample_of_snapshot(snapshot: Snapshot, objectives: Objectives = NO_OBJECTIVES) -> NodeSample:
    """The sample of the page that the agent would write for *snapshot*."""
    series = (
        one
        for family in families(objectives)
        for values, value in family.read(snapshot)
        for one in _series(family.name, dict(zip(family.labels, values, strict=True)), value)
    )
    return _assemble(series, snapshot.monotonic_seconds, {}, objectives)


def sample_of_series(
    series: Iterable[tuple[Series, float]],
    monotonic_seconds: float,
    known: dict[Series, Counter],
    objectives: Objectives = NO_OBJECTIVES,
) -> NodeSample:
    """
    The sample of a page's *series*, from wherever they come; *known* is a cache of their counters.

    Raises NotAnAgent, BadValue or TooManySeries.
    """
    return _assemble(series, monotonic_seconds, known, objectives)


def _series(name: str, labels: dict[str, str], value: float | Histogram) -> Iterator[tuple[Series, float]]:
    if not isinstance(value, Histogram):
        yield Series(name, tuple(sorted(labels.items()))), float(value)
        return
    for bound, count in zip((*value.bounds, math.inf), (*value.at_most, value.count), strict=True):
        inside = labels | {"le": format_value(bound)}
        yield Series(f"{name}_bucket", tuple(sorted(inside.items()))), count


def _sorted(
    series: Iterable[tuple[Series, float]], known: dict[Series, Counter]
) -> tuple[dict[Counter, float], dict[Counter, float], Facts, frozenset[Counter]]:
    """Counters, buckets, facts, and the counters whose value is not possible. Raises BadValue."""
    counters: dict[Counter, float] = {}
    buckets: dict[Counter, float] = {}
    facts: dict[str, list[tuple[Series, float]]] = {}
    refused: set[Counter] = set()
    for one, value in series:
        if one.name not in COUNTERS:
            if one.name == _CALIBRATION:
                facts.setdefault(one.name, []).append((one, value))
            elif math.isfinite(value):
                facts.setdefault(one.name, []).append((one, checked(one, value)))
        elif not is_possible(one.name, value):
            # Of other counters no joules and no tokens are made: without a reading they are unknown.
            if one.name in BOUNDS:
                refused.add(_counter(one, known))
        elif one.name != PIPE_CYCLES or one.label("pipe") == TENSOR:
            (buckets if one.name in BUCKETS else counters)[_counter(one, known)] = value
    uncalibrated = _uncalibrated(facts, counters)
    refused.update(uncalibrated)
    for counter in uncalibrated:
        del counters[counter]
    return counters, buckets, facts, frozenset(refused)


def _assemble(
    series: Iterable[tuple[Series, float]],
    monotonic_seconds: float,
    known: dict[Series, Counter],
    objectives: Objectives,
) -> NodeSample:
    counters, buckets, facts, refused = _sorted(series, known)
    if _TIMESTAMP not in facts:
        raise NotAnAgent(
            f"no {_TIMESTAMP} on the page; check that `sources.agents` names the page of a perwatt agent"
        )
    agent = next((one for one, _ in facts.get(_AGENT_INFO, ())), None)
    gpus, workloads = gpus_of(facts), workloads_of(facts)
    if len(gpus) > MAX_GPUS or len(workloads) > MAX_WORKLOADS:
        raise TooManySeries(f"more than {MAX_GPUS} GPUs or {MAX_WORKLOADS} workloads")
    return NodeSample(
        unix_seconds=_instant(*facts[_TIMESTAMP][-1]),
        monotonic_seconds=monotonic_seconds,
        backend=next((one.label("backend") for one, _ in facts.get(_BACKEND_INFO, ())), ""),
        backend_up=any(value == 1.0 for _, value in facts.get(_BACKEND_UP, ())),
        gpu_states={one.label("state"): gpu_count(one, value) for one, value in facts.get(_GPUS, ())},
        gpus=gpus,
        workloads=workloads,
        counters=counters | {counter: buckets[counter] for counter in kept(buckets, objectives)},
        meter_periods=_meter_periods(facts),
        events=sum(value for _, value in facts[_EVENTS]) if _EVENTS in facts else None,
        pages_in_turn=sum(
            value for one, value in facts.get(_FAILURES, ()) if one.label("reason") == _IN_TURN
        ),
        agent=agent.label("agent") if agent else "",
        agent_start=agent.label("start") if agent else "",
        start_unix_seconds=_start(agent, facts),
        refused=refused,
    )


def _instant(series: Series, unix_seconds: float) -> float:
    if not 0.0 <= unix_seconds <= MAX_UNIX_SECONDS:
        raise BadValue(f"{series.name} is {unix_seconds:g}; set the clock of the node")
    return unix_seconds


def _uncalibrated(facts: Facts, counters: Iterable[Counter]) -> list[Counter]:
    """The energy counters of GPUs whose calibration is not possible, so that their joules are not known."""
    gpus = {
        one.label("gpu")
        for one, value in facts.get(_CALIBRATION, ())
        if not MIN_CALIBRATION_RATIO <= value <= MAX_CALIBRATION_RATIO
    }
    return [one for one in counters if one.name == GPU_ENERGY and one.gpu in gpus] if gpus else []


def _meter_periods(facts: Facts) -> dict[str, float]:
    """
    The period of each source, with which a meter's name starts.

    Meters of one source can differ (a node's, and its processors'): the longest refuses too short windows.
    """
    periods: dict[str, float] = {}
    for one, value in facts.get(_METER_PERIOD, ()):
        if 0.0 < value <= MAX_PERIOD_SECONDS:
            source = one.label("meter").partition("/")[0]
            periods[source] = max(value, periods.get(source, 0.0))
    return periods


def _start(agent: Series | None, facts: Facts) -> float | None:
    """When the agent started; an agent without an id shows the start of its process."""
    with suppress(ValueError):
        if agent is not None and math.isfinite(start := float(agent.label("start"))):
            return start
    return next((value for _, value in facts.get(_PROCESS_START, ())), None)


def kept(buckets: Iterable[Counter], objectives: Objectives) -> Iterator[Counter]:
    """The buckets next to the objectives of their models, and the buckets of all requests."""
    histograms: dict[tuple[str, str, str], dict[float, Counter]] = {}
    for counter in buckets:
        with suppress(ValueError):
            if not math.isnan(bound := float(counter.part)):
                histograms.setdefault((counter.name, counter.workload, counter.model), {})[bound] = counter
    for (name, _, model), by_bound in histograms.items():
        config = objectives.of(model)
        objective = None if config is None else _objective(config, name)
        if objective is not None and math.inf in by_bound:
            needed = {math.inf, *bounds_around(sorted(by_bound), objective)}
            yield from (by_bound[bound] for bound in needed if bound is not None)


def _objective(config: SloConfig, name: str) -> float | None:
    return config.time_to_first_token if name == TIME_TO_FIRST_TOKEN else config.time_per_output_token


def _counter(series: Series, known: dict[Series, Counter]) -> Counter:
    counter = known.get(series)
    if counter is None:
        labels = dict(series.labels)
        counter = known[series] = Counter(
            series.name,
            labels.get("gpu", ""),
            labels.get("workload", ""),
            labels.get("model", ""),
            labels.get(COUNTERS[series.name], ""),
        )
    return counter
