"""Facility answer: the PUE, the rates and the energy of one facility, as in /v1/facility."""

from collections.abc import Iterable

from perwatt_aggregator.answers.ledger.ledger import ledger
from perwatt_aggregator.facility.facility import SECONDS_PER_HOUR, Facility
from perwatt_aggregator.facility.history import MeasuredEnergies
from perwatt_aggregator.facility.polling import InputPoller
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet.groups import Fleet
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.fleet.sums import Sums, sums_of
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import difference
from perwatt_aggregator.schema.common import PROVENANCES
from perwatt_aggregator.schema.facility import (
    Capital,
    CarbonIntensity,
    FacilityItem,
    FacilityMeter,
    FacilityPue,
    ItOverhead,
    Price,
    PueEnergies,
)
from perwatt_aggregator.schema.instants import instant
from perwatt_aggregator.schema.ledger import LedgerItem
from perwatt_aggregator.validity.all import is_valid, ordered
from perwatt_aggregator.validity.thresholds import MIN_COVERAGE_RATIO

OF_WORK = frozenset(
    ("shared_group", "tokens_span_gpus", "counts_at_request_end", "tokens_uncovered", "no_baseline")
)
"""Reasons about the tokens of a window, which do not apply to a facility's energy."""


def facility_item(
    facility: Facility,
    state: FacilityState,
    nodes: Iterable[Node],
    views: Iterable[NodeView],
    *,
    is_whole: bool = True,
) -> FacilityItem:
    """
    The item of *facility* with its *state*, from its own of all *nodes* and of their *views* over the window.

    Its joules are those of the ledger: all measured joules, including those that are not attributed yet.
    """
    config, measured = facility.config, facility.measured()
    views = [view for view in views if view.facility is state]
    fleet = Fleet(views, (), is_whole=is_whole)
    sums = next((sums_of(group, fleet) for group in fleet.groups()), None)
    tree = next(iter(ledger(views, ())), None)
    node_joules, facility_joules = _joules(tree)
    coverage_ratio = sums.by_boundary["facility"].coverage_ratio if sums else 0.0
    found = _reasons(sums, state, coverage_ratio)
    return FacilityItem(
        facility=config.name,
        nodes=tuple(node.target.node for node in nodes if node.facility is config),
        pue=_pue(state),
        pue_asked=config.pue.kind if config.pue else None,
        pue_energies=_energies(measured) if measured else None,
        it=ItOverhead(config.it.switches, config.it.storage) if config.it else None,
        price=_price(state),
        carbon=_carbon(state),
        capital=_capital(state),
        window=tree.window if tree else None,
        node_energy_joules=node_joules,
        overhead_joules=difference(facility_joules, node_joules),
        facility_energy_joules=facility_joules,
        coverage_ratio=coverage_ratio,
        provenance=tuple(
            one for one in PROVENANCES if sums and one in sums.by_boundary["facility"].provenance
        ),
        meters=tuple(_meter(poller) for poller in facility.pollers),
        valid=is_valid(found),
        reasons=ordered(found),
    )


def _joules(item: LedgerItem | None) -> tuple[float | None, float | None]:
    """Joules at the nodes, and at the facility."""
    if item is None:
        return None, None
    nodes, _ = item.tree.children
    return nodes.energy_joules, item.tree.energy_joules


def _reasons(sums: Sums | None, state: FacilityState, coverage_ratio: float) -> set[str]:
    found = set(state.reasons)
    if sums is not None:
        found |= (sums.reasons - OF_WORK) | sums.by_boundary["facility"].reasons
    if sums is None or (sums.by_boundary["node"].energy is None and "no_node_meter" not in found):
        found.add("no_energy")
    if coverage_ratio < MIN_COVERAGE_RATIO:
        found.add("coverage_low")
    return found


def _pue(state: FacilityState) -> FacilityPue | None:
    pue = state.pue
    if pue is None:
        return None
    return FacilityPue(
        pue.ratio, pue.kind, pue.category, pue.period_seconds, pue.age_seconds, pue.uncertainty_ratio
    )


def _energies(measured: MeasuredEnergies) -> PueEnergies:
    return PueEnergies(
        measured.facility_joules,
        measured.it_joules,
        measured.seconds,
        measured.seconds / measured.span_seconds if measured.span_seconds else None,
        measured.age_seconds,
    )


def _price(state: FacilityState) -> Price | None:
    price = state.price
    if price is None:
        return None
    return Price(price.currency, price.per_kwh, price.kind, price.age_seconds)


def _carbon(state: FacilityState) -> CarbonIntensity | None:
    carbon = state.carbon
    if carbon is None:
        return None
    return CarbonIntensity(carbon.grams_per_kwh, carbon.kind, carbon.source, carbon.age_seconds)


def _capital(state: FacilityState) -> Capital | None:
    capital = state.capital
    return Capital(capital.currency, capital.per_gpu_second * SECONDS_PER_HOUR) if capital else None


def _meter(poller: InputPoller) -> FacilityMeter:
    return FacilityMeter(
        poller.input.name,
        None if poller.failure is None else not poller.failure,
        poller.failure or None,
        None if poller.last_success_unix is None else instant(poller.last_success_unix),
    )
