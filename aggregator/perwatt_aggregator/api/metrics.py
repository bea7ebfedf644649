"""Metrics page of the aggregator: the headline by model, facilities, ledger, compute, and scrape health."""

from collections.abc import Iterator

from msgspec import Struct

from perwatt_aggregator.aggregator import DEFAULT_WINDOW_SECONDS, Aggregator
from perwatt_aggregator.api.families.compute import compute_families
from perwatt_aggregator.api.families.facility import FacilityNow, facility_families
from perwatt_aggregator.api.families.history import history_families
from perwatt_aggregator.api.families.ledger import ledger_families
from perwatt_aggregator.api.families.shared_meters import shared_meter_families
from perwatt_aggregator.facility.shared_meter import SharedMeter
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.history.history import History
from perwatt_aggregator.readings.node_ring import MAX_HISTORY_BYTES
from perwatt_aggregator.schema.common import BOUNDARIES
from perwatt_aggregator.schema.compute import ComputeItem
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.schema.ledger import LedgerItem
from perwatt_aggregator.scraping.scraper import SCRAPE_REASONS
from perwatt_aggregator.targets.source import TargetSource
from perwatt_exporter.page.family import Family, Sample

WINDOW = f"{DEFAULT_WINDOW_SECONDS:g}s"


class State(Struct, frozen=True):
    """The answers and objects of one page."""

    by_model: tuple[EfficiencyItem, ...]
    facilities: tuple[FacilityNow, ...]
    nodes: tuple[Node, ...]
    ledger: tuple[LedgerItem, ...]
    compute: tuple[ComputeItem, ...]
    shared_meters: tuple[SharedMeter, ...]
    target_sources: tuple[TargetSource, ...] = ()
    history: History | None = None


def state_of(aggregator: Aggregator) -> State:
    """The state of the default window, now."""
    answer = aggregator.efficiency(by=("model",))
    states = aggregator.facility_states()
    facilities = tuple(map(FacilityNow, aggregator.facilities, states))
    ledger = aggregator.ledger(by=("facility",))
    compute = aggregator.compute(by=("model",))
    return State(
        answer.items,
        facilities,
        aggregator.nodes,
        ledger.items,
        compute.items,
        aggregator.shared_meters,
        aggregator.target_sources,
        aggregator.past.history,
    )


def _tokens_per_joule(state: State) -> Iterator[Sample]:
    for item in state.by_model:
        model = item.group["model"]
        if item.valid and item.tokens_per_joule is not None and model is not None:
            yield (model, item.boundary, WINDOW, "+".join(item.provenance)), item.tokens_per_joule


def _facilities(state: State) -> tuple[FacilityNow, ...]:
    return state.facilities


def _ledger(state: State) -> tuple[LedgerItem, ...]:
    return state.ledger


def _compute(state: State) -> tuple[ComputeItem, ...]:
    return state.compute


def _shared_meters(state: State) -> tuple[SharedMeter, ...]:
    return state.shared_meters


def _history(state: State) -> History | None:
    return state.history


def _target_up(state: State) -> Iterator[Sample]:
    for node in state.nodes:
        yield (node.target.node,), node.up


def _target_seconds(state: State) -> Iterator[Sample]:
    for node in state.nodes:
        if node.scrape_seconds is not None:
            yield (node.target.node,), node.scrape_seconds


def _target_failures(state: State) -> Iterator[Sample]:
    for node in state.nodes:
        for reason in SCRAPE_REASONS:
            if node.failures[reason]:
                yield (node.target.node, reason), node.failures[reason]


def _target_series(state: State) -> Iterator[Sample]:
    for node in state.nodes:
        yield (node.target.node,), node.ring.series


def _target_bytes(state: State) -> Iterator[Sample]:
    for node in state.nodes:
        yield (node.target.node,), node.ring.bytes


def _source_up(state: State) -> Iterator[Sample]:
    for one in state.target_sources:
        if one.is_up is not None:
            yield (one.setting,), one.is_up


def _source_targets(state: State) -> Iterator[Sample]:
    for one in state.target_sources:
        yield (one.setting,), len(one.targets)


def _source_failures(state: State) -> Iterator[Sample]:
    for one in state.target_sources:
        yield (one.setting,), one.failures


FAMILIES: tuple[Family[State], ...] = (
    Family(
        "perwatt_output_tokens_per_joule",
        "gauge",
        "Output tokens per joule over the window, including idle time, as in /v1/efficiency?by=model. "
        "Absent while that figure is not valid.",
        ("model", "boundary", "window", "provenance"),
        _tokens_per_joule,
        {"boundary": BOUNDARIES, "window": (WINDOW,)},
    ),
    *facility_families(_facilities),
    *ledger_families(_ledger, WINDOW),
    *compute_families(_compute, WINDOW),
    *shared_meter_families(_shared_meters),
    *history_families(_history),
    Family(
        "perwatt_aggregator_target_up",
        "gauge",
        "1 if the latest scrape of this agent succeeded, else 0.",
        ("node",),
        _target_up,
    ),
    Family(
        "perwatt_aggregator_target_scrape_duration_seconds",
        "gauge",
        "Duration of the latest scrape of this agent, in seconds.",
        ("node",),
        _target_seconds,
    ),
    Family(
        "perwatt_aggregator_target_failures_total",
        "counter",
        "Failed scrapes of this agent since the aggregator started, by reason.",
        ("node", "reason"),
        _target_failures,
        {"reason": SCRAPE_REASONS},
    ),
    Family(
        "perwatt_aggregator_target_history_series",
        "gauge",
        "Series of this agent that are kept for windows, those that ended included.",
        ("node",),
        _target_series,
    ),
    Family(
        "perwatt_aggregator_target_history_bytes",
        "gauge",
        f"Memory of these series, of which a node may take {MAX_HISTORY_BYTES} bytes.",
        ("node",),
        _target_bytes,
    ),
    Family(
        "perwatt_aggregator_discovery_up",
        "gauge",
        "1 if the latest read of this source of targets succeeded, else 0; its last good list stays.",
        ("setting",),
        _source_up,
    ),
    Family(
        "perwatt_aggregator_discovery_targets",
        "gauge",
        "Number of targets in the last good list of this source.",
        ("setting",),
        _source_targets,
    ),
    Family(
        "perwatt_aggregator_discovery_failures_total",
        "counter",
        "Failed reads of this source of targets since the aggregator started.",
        ("setting",),
        _source_failures,
    ),
)
