"""What holds of a facility over one window: the figures that multiply joules at its nodes."""

from msgspec import Struct

from perwatt_aggregator.schema.common import CarbonKind, CarbonSource, PriceKind, PueKind

JOULES_PER_KILOWATT_HOUR = 3.6e6


class PueInUse(Struct, frozen=True):
    """
    Facility joules per joule at the nodes, and how that is known.

    `category` is that of ISO/IEC 30134-2, from 0 to 3. `period_seconds` is what the ratio was measured
    over, `age_seconds` how long ago that ended, `uncertainty_ratio` its relative standard uncertainty.
    """

    ratio: float
    kind: PueKind
    category: int | None = None
    period_seconds: float | None = None
    age_seconds: float | None = None
    uncertainty_ratio: float = 0.0


class PriceInUse(Struct, frozen=True):
    """What energy costs, as the mean over the window's time; `age_seconds` only of what was asked for."""

    currency: str
    per_kwh: float
    kind: PriceKind
    age_seconds: float | None = None

    @property
    def per_joule(self) -> float:
        return self.per_kwh / JOULES_PER_KILOWATT_HOUR


class CarbonInUse(Struct, frozen=True):
    """Grams of CO2 equivalent for a kilowatt-hour, as the mean over the window's time."""

    grams_per_kwh: float
    kind: CarbonKind
    source: CarbonSource
    age_seconds: float | None = None

    @property
    def grams_per_joule(self) -> float:
        return self.grams_per_kwh / JOULES_PER_KILOWATT_HOUR


class CapitalInUse(Struct, frozen=True):
    """What a GPU costs for each second that it is there, whatever it does."""

    currency: str
    per_gpu_second: float


class FacilityState(Struct, frozen=True):
    """
    One facility over one window. What is not known is None, and `reasons` say why.

    `reasons` also say what stands in for what was refused: a static PUE for one that is stale.
    """

    name: str = "default"
    pue: PueInUse | None = None
    price: PriceInUse | None = None
    carbon: CarbonInUse | None = None
    capital: CapitalInUse | None = None
    reasons: tuple[str, ...] = ("no_pue",)


UNKNOWN = FacilityState()
"""A facility of which nothing is known."""
