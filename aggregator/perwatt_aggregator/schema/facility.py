"""What /v1/facility answers."""

from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from perwatt_aggregator.schema.common import (
    SCHEMA_VERSION,
    Amount,
    CarbonKind,
    CarbonSource,
    Instant,
    PriceKind,
    Provenance,
    PueKind,
    Ratio,
    Reasons,
    Window,
)

InOrOut = Literal["in", "out"]
SourceName = Literal["facility", "it", "price", "carbon"]
SOURCE_NAMES: tuple[SourceName, ...] = get_args(SourceName)


class FacilityPue(Struct, frozen=True):
    """
    The PUE in use. Of a measured one the time that it was measured over, and how long ago that ended.

    `uncertainty_ratio` is the relative standard uncertainty.
    """

    ratio: Annotated[float, Meta(ge=1)]
    kind: PueKind
    category: Annotated[int, Meta(ge=0, le=3, description="Of ISO/IEC 30134-2.")] | None
    period_seconds: Amount | None
    age_seconds: Amount | None
    uncertainty_ratio: Ratio


class PueEnergies(Struct, frozen=True):
    """What was measured for a live PUE, whether it is in use or refused: energies of the same time."""

    facility_energy_joules: Amount
    it_energy_joules: Amount
    seconds: Amount
    coverage_ratio: Ratio | None
    age_seconds: Amount


class ItOverhead(Struct, frozen=True):
    """Whether the IT energy of the PUE holds what is neither server nor building."""

    switches: InOrOut
    storage: InOrOut


class Price(Struct, frozen=True):
    """What a kilowatt-hour costs: the mean over the window. It can be below zero."""

    currency: str
    per_kwh: float
    kind: PriceKind
    age_seconds: Amount | None


class CarbonIntensity(Struct, frozen=True):
    """What a kilowatt-hour emits: the mean over the window."""

    grams_co2e_per_kwh: float
    kind: CarbonKind
    source: CarbonSource
    age_seconds: Amount | None


class Capital(Struct, frozen=True):
    """What a GPU costs for an hour, used or not."""

    currency: str
    per_gpu_hour: Amount


class FacilityMeter(Struct, frozen=True):
    """One thing that the facility is asked for, and how that fares; before the first time up is null."""

    meter: SourceName
    up: bool | None
    failure: Annotated[str | None, Meta(description="Why the latest attempt brought nothing.")]
    last_success: Instant | None


class FacilityItem(Struct, frozen=True):
    """
    One facility: what multiplies its nodes' joules, where that is from, and what it comes to.

    `node_energy_joules` are those of its nodes in the window, at the wall; `overhead_joules` are
    (PUE - 1) times those, and `facility_energy_joules` both.
    """

    facility: str
    nodes: tuple[str, ...]
    pue: FacilityPue | None
    pue_asked: Annotated[PueKind | None, Meta(description="What kind of PUE is configured.")]
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


class Facilities(Struct, frozen=True, kw_only=True):
    """Every facility."""

    schema_version: Literal[1] = SCHEMA_VERSION
    items: tuple[FacilityItem, ...]
