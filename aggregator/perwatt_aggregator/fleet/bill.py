"""
Bill of a group: cost and emissions of its joules, each at the rates of its own facility.

Different currencies are never added, and neither are average and marginal emissions.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.fleet.share import ShareSums
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import total_of_products
from perwatt_aggregator.schema.common import CarbonKind


class Bill(Struct, frozen=True):
    """
    Cost and emissions of a group at the facility; None unless they are known of all of it.

    `energy` and `capital` are amounts of `currency`; `capital` is the capital cost of its GPUs over their
    time. `facilities` are those of its nodes.
    """

    facilities: tuple[FacilityState, ...]
    currency: str | None
    energy: float | None
    capital: float | None
    carbon_kind: CarbonKind | None
    grams_co2e: float | None
    reasons: frozenset[str]


def bill_of(shares: Iterable[tuple[NodeView, ShareSums]]) -> Bill:
    """The cost of the shares' joules at the facility, and of the time of their GPUs."""
    by_name: dict[str, FacilityState] = {}
    joules: dict[str, list[float]] = {}
    gpu_seconds: dict[str, list[float]] = {}
    for view, share in shares:
        name = view.facility.name
        by_name[name] = view.facility
        gpu_seconds.setdefault(name, []).append(share.totals.gpu_seconds)
        at_facility = share.energies[-1]
        if at_facility.parts:
            joules.setdefault(name, []).append(at_facility.joules)
    facilities = tuple(by_name.values())
    currencies, kinds = _currencies(facilities), _carbon_kinds(facilities)
    energies = [sum(joules[name]) if name in joules else None for name in by_name]
    return Bill(
        facilities,
        currency=currencies.pop() if len(currencies) == 1 else None,
        energy=_at_rates(energies, [state.price.per_joule if state.price else None for state in facilities]),
        capital=_at_rates(
            [sum(gpu_seconds[name]) for name in by_name],
            [state.capital.per_gpu_second if state.capital else None for state in facilities],
        ),
        carbon_kind=kinds.pop() if len(kinds) == 1 else None,
        grams_co2e=_at_rates(
            energies, [state.carbon.grams_per_joule if state.carbon else None for state in facilities]
        ),
        reasons=frozenset(_reasons(facilities)),
    )


def _at_rates(amounts: Sequence[float | None], rates: Sequence[float | None]) -> float | None:
    return total_of_products(zip(amounts, rates, strict=True))


def _reasons(facilities: Sequence[FacilityState]) -> Iterator[str]:
    """Why the facilities' figures are not added, or what to know if they are."""
    if len({state.pue for state in facilities}) > 1:
        yield "several_facilities"
    if len(_currencies(facilities)) > 1:
        yield "several_currencies"
    if len(_carbon_kinds(facilities)) > 1:
        yield "several_carbon_kinds"
    for name, known in (
        ("no_price", [state.price is not None for state in facilities]),
        ("no_carbon", [state.carbon is not None for state in facilities]),
    ):
        if any(known) and not all(known):
            yield name


def _currencies(facilities: Sequence[FacilityState]) -> set[str]:
    prices = {state.price.currency for state in facilities if state.price is not None}
    return prices | {state.capital.currency for state in facilities if state.capital is not None}


def _carbon_kinds(facilities: Sequence[FacilityState]) -> set[CarbonKind]:
    return {state.carbon.kind for state in facilities if state.carbon is not None}
