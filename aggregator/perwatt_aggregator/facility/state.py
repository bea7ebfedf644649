"""Facility state over one window: the PUE, price, carbon intensity and capital cost in use."""

from msgspec import Struct

from perwatt_aggregator.schema.common import CarbonKind, CarbonSource, PriceKind, PueKind

JOULES_PER_KILOWATT_HOUR = 3.6e6


class PueInUse(Struct, frozen=True):
    """
    Facility joules per joule at the nodes.

    `category` is that of ISO/IEC 30134-2, from 0 to 3. `period_seconds` is the time over which the ratio was
    measured, `age_seconds` the time since then, `uncertainty_ratio` its relative standard uncertainty.
    """

    ratio: float
    kind: PueKind
    category: int | None = None
    period_seconds: float | None = None
    age_seconds: float | None = None
    uncertainty_ratio: float = 0.0


class PriceInUse(Struct, frozen=True):
    """Mean price of energy over the window; `age_seconds` is that of a price from a query."""

    currency: str
    per_kwh: float
    kind: PriceKind
    age_seconds: float | None = None

    @property
    def per_joule(self) -> float:
        return self.per_kwh / JOULES_PER_KILOWATT_HOUR


class CarbonInUse(Struct, frozen=True):
    """Mean grams of CO2 equivalent per kilowatt-hour over the window."""

    grams_per_kwh: float
    kind: CarbonKind
    source: CarbonSource
    age_seconds: float | None = None

    @property
    def grams_per_joule(self) -> float:
        return self.grams_per_kwh / JOULES_PER_KILOWATT_HOUR


class CapitalInUse(Struct, frozen=True):
    """Capital cost of a GPU per second, whether it is used or not."""

    currency: str
    per_gpu_second: float


class FacilityState(Struct, frozen=True):
    """
    One facility over one window. A figure that is not known is None.

    `reasons` are why figures are not known, or why a static one replaces a measured one.
    """

    name: str = "default"
    pue: PueInUse | None = None
    price: PriceInUse | None = None
    carbon: CarbonInUse | None = None
    capital: CapitalInUse | None = None
    reasons: tuple[str, ...] = ("no_pue",)


UNKNOWN = FacilityState()
"""A facility without any configuration."""
