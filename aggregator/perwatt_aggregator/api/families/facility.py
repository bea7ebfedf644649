"""Facility families: the PUE and rates in use, the measured energies, the health of the meters."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

from perwatt_aggregator.facility.facility import Facility
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.schema.common import CARBON_KINDS, PUE_KINDS
from perwatt_aggregator.schema.facility import SOURCE_NAMES
from perwatt_exporter.page.family import Family, Sample

S = TypeVar("S")


class FacilityNow(Struct, frozen=True):
    """A facility and its state now."""

    facility: Facility
    state: FacilityState


def _pue_ratio(shown: FacilityNow) -> Iterator[Sample]:
    if shown.state.pue is not None:
        yield (shown.state.name,), shown.state.pue.ratio


def _pue_info(shown: FacilityNow) -> Iterator[Sample]:
    pue = shown.state.pue
    if pue is not None:
        yield (shown.state.name, pue.kind), 1


def _pue_category(shown: FacilityNow) -> Iterator[Sample]:
    pue = shown.state.pue
    if pue is not None and pue.category is not None:
        yield (shown.state.name,), pue.category


def _pue_age(shown: FacilityNow) -> Iterator[Sample]:
    pue = shown.state.pue
    if pue is not None and pue.age_seconds is not None:
        yield (shown.state.name,), pue.age_seconds


def _energy(shown: FacilityNow) -> Iterator[Sample]:
    joules = shown.facility.facility_joules_total
    if joules is not None:
        yield (shown.state.name,), joules


def _it_energy(shown: FacilityNow) -> Iterator[Sample]:
    joules = shown.facility.it_joules_total
    if joules is not None:
        yield (shown.state.name,), joules


def _price(shown: FacilityNow) -> Iterator[Sample]:
    price = shown.state.price
    if price is not None:
        yield (shown.state.name, price.currency), price.per_joule


def _carbon(shown: FacilityNow) -> Iterator[Sample]:
    carbon = shown.state.carbon
    if carbon is not None:
        yield (shown.state.name, carbon.kind), carbon.grams_per_joule


def _meter_success(shown: FacilityNow) -> Iterator[Sample]:
    for poller in shown.facility.pollers:
        if poller.failure is not None:
            yield (shown.state.name, poller.input.name), not poller.failure


def _meter_last_success(shown: FacilityNow) -> Iterator[Sample]:
    for poller in shown.facility.pollers:
        if poller.last_success_unix is not None:
            yield (shown.state.name, poller.input.name), poller.last_success_unix


FAMILIES: tuple[Family[FacilityNow], ...] = (
    Family(
        "perwatt_facility_pue_ratio",
        "gauge",
        "Power usage effectiveness in use: facility joules per joule at the nodes.",
        ("facility",),
        _pue_ratio,
    ),
    Family(
        "perwatt_facility_pue_info",
        "info",
        "Kind of the PUE in use.",
        ("facility", "kind"),
        _pue_info,
        {"kind": PUE_KINDS},
    ),
    Family(
        "perwatt_facility_pue_category",
        "gauge",
        "Category of ISO/IEC 30134-2 of the PUE in use, 0 to 3; absent if it has none.",
        ("facility",),
        _pue_category,
    ),
    Family(
        "perwatt_facility_pue_age_seconds",
        "gauge",
        "Seconds since the measurement of the PUE in use ended; absent if it was not measured.",
        ("facility",),
        _pue_age,
    ),
    Family(
        "perwatt_facility_energy_joules_total",
        "counter",
        "Energy at the facility's meter since the aggregator started; absent without a meter.",
        ("facility",),
        _energy,
    ),
    Family(
        "perwatt_facility_it_energy_joules_total",
        "counter",
        "Energy of IT since the aggregator started; absent unless all of IT is metered.",
        ("facility",),
        _it_energy,
    ),
    Family(
        "perwatt_facility_energy_price_per_joule",
        "gauge",
        "Price of a joule at the facility's meter, in the currency of the label.",
        ("facility", "currency"),
        _price,
    ),
    Family(
        "perwatt_facility_carbon_grams_per_joule",
        "gauge",
        "Grams of CO2 equivalent per joule at the facility's meter.",
        ("facility", "kind"),
        _carbon,
        {"kind": CARBON_KINDS},
    ),
    Family(
        "perwatt_facility_meter_success",
        "gauge",
        "1 if the latest read of this meter or rate succeeded, else 0.",
        ("facility", "meter"),
        _meter_success,
        {"meter": SOURCE_NAMES},
    ),
    Family(
        "perwatt_facility_meter_last_success_timestamp_seconds",
        "gauge",
        "Unix time of the latest successful read of this meter or rate.",
        ("facility", "meter"),
        _meter_last_success,
        {"meter": SOURCE_NAMES},
    ),
)
"""The families of one facility."""


def facility_families(shown: Callable[[S], Sequence[FacilityNow]]) -> tuple[Family[S], ...]:
    """The families of a page that is made from S, in which *shown* finds the facilities."""
    return tuple(_of_all(family, shown) for family in FAMILIES)


def _of_all(family: Family[FacilityNow], shown: Callable[[S], Sequence[FacilityNow]]) -> Family[S]:
    def read(page: S) -> Iterator[Sample]:
        for one in shown(page):
            yield from family.read(one)

    return Family(family.name, family.kind, family.help, family.labels, read, family.closed)
