"""Schema of `/v1/facility`: PUE, price, carbon intensity and energy of each facility."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    CarbonKind,
    CarbonSource,
    Instant,
    Next,
    PriceKind,
    Provenance,
    PueKind,
    Ratio,
    Reasons,
    Source,
    Window,
)

InOrOut = Literal["in", "out"]
SourceName = Literal["facility", "it", "price", "carbon"]
SOURCE_NAMES: tuple[SourceName, ...] = get_args(SourceName)


class FacilityPue(Struct, frozen=True):
    """
    The PUE in use. A measured one has the length of its measurement, and the time since its end.

    `uncertainty_ratio` is the relative standard uncertainty.
    """

    ratio: Annotated[float, Meta(ge=1)]
    kind: PueKind
    category: Annotated[int, Meta(ge=0, le=3, description="Of ISO/IEC 30134-2.")] | None
    period_seconds: Amount | None
    age_seconds: Amount | None
    uncertainty_ratio: Ratio


class PueEnergies(Struct, frozen=True):
    """The measured energies of a live PUE, in use or not: energies of the same time."""

    facility_energy_joules: Amount
    it_energy_joules: Amount
    seconds: Amount
    coverage_ratio: Ratio | None
    age_seconds: Amount


class ItOverhead(Struct, frozen=True):
    """Whether the IT energy of the PUE includes switches and storage."""

    switches: InOrOut
    storage: InOrOut


class Price(Struct, frozen=True):
    """Mean price of a kilowatt-hour over the window. It can be below zero."""

    currency: str
    per_kwh: float
    kind: PriceKind
    age_seconds: Amount | None


class CarbonIntensity(Struct, frozen=True):
    """Mean emissions of a kilowatt-hour over the window."""

    grams_co2e_per_kwh: float
    kind: CarbonKind
    source: CarbonSource
    age_seconds: Amount | None


class Capital(Struct, frozen=True):
    """Capital cost of a GPU per hour, used or not."""

    currency: str
    per_gpu_hour: Amount


class FacilityMeter(Struct, frozen=True):
    """One input of the facility and its health; `up` is null before the first read."""

    meter: SourceName
    up: bool | None
    failure: Annotated[str | None, Meta(description="Why the latest read failed.")]
    last_success: Instant | None


class FacilityItem(Struct, frozen=True):
    """
    One facility: its PUE and rates with their sources, and its energy.

    `node_energy_joules` is the energy of its nodes in the window, `overhead_joules` is (PUE - 1) times that,
    and `facility_energy_joules` is the sum of both.
    """

    facility: str
    nodes: tuple[str, ...]
    pue: FacilityPue | None
    pue_asked: Annotated[PueKind | None, Meta(description="The configured kind of PUE.")]
    pue_energies: PueEnergies | None
    it: ItOverhead | None
    price: Price | None
    carbon: CarbonIntensity | None
    capital: Capital | None
    window: Window | None
    node_energy_joules: Amount | None
    overhead_joules: Amount | None
    facility_energy_joules: Amount | None
    coverage_ratio: Ratio
    provenance: tuple[Provenance, ...]
    meters: tuple[FacilityMeter, ...]
    valid: bool
    reasons: Reasons
    source: Source = "agents"


class Facilities(Struct, frozen=True, kw_only=True):
    """Every facility."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[FacilityItem, ...]
    next: Next = None
