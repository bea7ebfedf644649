"""Facility configuration: PUE, price, carbon. The annotations are its reference."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from perwatt_agent.configfile.loading import IsValid
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import READABLE_FILE, TEXT, duration, number, one_of
from perwatt_agent.meters.catalog import figure_kinds
from perwatt_agent.meters.checks import check_meter, check_place
from perwatt_agent.meters.config import MeterConfig, PlaceConfig
from perwatt_aggregator.facility.kinds import (
    ALL_DAYS,
    CATEGORY,
    CURRENCY,
    DATE,
    HOURS,
    WEEKDAYS,
    WHOLE_DAY,
    ZONE,
    HoursOfDay,
)
from perwatt_aggregator.schema.common import CARBON_KINDS, PUE_KINDS, CarbonKind, PueKind
from perwatt_aggregator.validity.thresholds import MAX_GRAMS_PER_KWH, MAX_PRICE_PER_KWH, MAX_PUE_RATIO

DAY_SECONDS = 86400.0
MIN_PERIOD_SECONDS = 900.0
RATE_KINDS = figure_kinds()


class ItConfig(Struct, frozen=True):
    """What the IT energy of the PUE includes beside the nodes, so that two PUEs can be compared."""

    switches: Annotated[
        Literal["in", "out"], Key("whether network switches count as IT: `in` or `out`", one_of("in", "out"))
    ] = "out"
    storage: Annotated[
        Literal["in", "out"], Key("whether storage counts as IT: `in` or `out`", one_of("in", "out"))
    ] = "out"


class PueConfig(Struct, frozen=True):
    """Power usage effectiveness: facility joules per joule at the nodes."""

    ratio: Annotated[
        float | None,
        Key("PUE: facility joules / IT joules; the fallback of a live PUE", number(1.0, MAX_PUE_RATIO)),
    ] = None
    kind: Annotated[
        PueKind,
        Key(
            "source of the PUE: `static` (assumed), `interim` (measured for less than a year), `category` "
            "(a year, as its category asks) or `live` (measured now)",
            one_of(*PUE_KINDS),
        ),
    ] = "static"
    category: Annotated[int | None, Key("PUE category of ISO/IEC 30134-2, 0 to 3", CATEGORY)] = None
    measured_until: Annotated[
        float | None, Key("last day of measurement of an `interim` or `category` PUE", DATE)
    ] = None
    period: Annotated[
        float, Key("period over which a live PUE is measured", duration(MIN_PERIOD_SECONDS, 7 * DAY_SECONDS))
    ] = DAY_SECONDS
    uncertainty: Annotated[
        float | None,
        Key(
            "relative standard uncertainty of the PUE; default: 0.05, and 0.02 for a live PUE",
            number(0.0, 1.0),
        ),
    ] = None
    facility_meter: MeterConfig | None = None
    it_meter: MeterConfig | None = None


class NodeOverheadConfig(Struct, frozen=True):
    """An estimate of node joules from board joules, only where no node meter exists."""

    ratio: Annotated[
        float, Key("estimate of node joules / board joules, for nodes without a meter", number(1.0, 10.0))
    ]


class RateConfig(PlaceConfig, frozen=True, kw_only=True):
    """A price or a carbon intensity from a query."""

    factor: Annotated[
        float, Key("factor by which to multiply the number before its unit applies", number(1e-9, 1e9))
    ] = 1.0
    per: Annotated[
        Literal["kilowatt_hour", "megawatt_hour"],
        Key("unit: per `kilowatt_hour` or `megawatt_hour`", one_of("kilowatt_hour", "megawatt_hour")),
    ] = "kilowatt_hour"
    max_age: Annotated[float, Key("oldest answer that is still used", duration(1.0, 7 * DAY_SECONDS))] = (
        7200.0
    )


class TimeOfUseConfig(Struct, frozen=True):
    """A price at some hours of some days, in the time zone of the price."""

    per_kwh: Annotated[float, Key("price of a kilowatt-hour in these hours", number(0.0, MAX_PRICE_PER_KWH))]
    days: Annotated[
        frozenset[int],
        Key("days, such as `mon-fri`; hours past midnight belong to the day on which they begin", WEEKDAYS),
    ] = ALL_DAYS
    hours: Annotated[HoursOfDay, Key("hours, such as `08:00-20:00` or `22:00-06:00`", HOURS)] = WHOLE_DAY


class PriceConfig(Struct, frozen=True):
    """Price of a kilowatt-hour: of `query`, or the first of `times` that applies, or `per_kwh`."""

    currency: Annotated[str, Key("currency code of ISO 4217, such as `EUR`", CURRENCY)]
    per_kwh: Annotated[
        float | None,
        Key("price of a kilowatt-hour, outside of `times`", number(0.0, MAX_PRICE_PER_KWH)),
    ] = None
    time_zone: Annotated[str, Key("time zone of `times`, such as `Europe/Berlin`", ZONE)] = "UTC"
    times: Annotated[
        tuple[TimeOfUseConfig, ...], Key("prices by time of use; the first that applies is used")
    ] = ()
    query: RateConfig | None = None


class CarbonConfig(Struct, frozen=True):
    """Carbon intensity of a kilowatt-hour: of `query` or `file`, or `grams_co2e_per_kwh`."""

    grams_co2e_per_kwh: Annotated[
        float | None, Key("emissions per kilowatt-hour", number(0.0, MAX_GRAMS_PER_KWH))
    ] = None
    kind: Annotated[CarbonKind, Key("kind of intensity: `average` or `marginal`", one_of(*CARBON_KINDS))] = (
        "average"
    )
    file: Annotated[
        Path | None,
        Key("CSV file with the columns `time` and `grams_co2e_per_kwh`, one row per hour", READABLE_FILE),
    ] = None
    query: RateConfig | None = None


class CapitalConfig(Struct, frozen=True):
    """Capital cost of the hardware over its lifetime, in the currency of the price."""

    per_gpu_hour: Annotated[float, Key("cost of one GPU for one hour, used or not", number(0.0, 1e9))]


class FacilityConfig(Struct, frozen=True):
    """The building around the nodes; None if a part of it is not configured."""

    name: Annotated[str, Key("name of the facility: the `facility` label", TEXT)] = "default"
    pue: PueConfig | None = None
    node_overhead: NodeOverheadConfig | None = None
    price: PriceConfig | None = None
    carbon: CarbonConfig | None = None
    nodes: Annotated[
        tuple[str, ...],
        Key(
            "nodes of the facility: patterns of `HOST:PORT` or `HOST`, such as `gpu-1*`",
            TEXT,
            "facility-node",
        ),
    ] = ("*",)
    capital: CapitalConfig | None = None
    it: ItConfig | None = None

    def has_node(self, node: str) -> bool:
        """Whether *node*, `HOST:PORT`, is in this facility."""
        names = (node, node.rpartition(":")[0])
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.nodes)


def check_facility(config: FacilityConfig, path: str, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    """Errors between the keys of one facility, at *path* of its file."""
    if config.pue is not None:
        yield from _check_pue(config.pue, f"{path}.pue", is_valid)
        own = config.pue.kind == "live" and config.pue.it_meter is None
        if own and config.it is not None and "in" in (config.it.switches, config.it.storage):
            yield (
                f"{path}.it",
                "expected `out`; without `pue.it_meter`, IT energy is that of the nodes alone",
            )
    if config.price is not None:
        yield from _check_price(config.price, f"{path}.price", is_valid)
    if config.carbon is not None:
        yield from _check_carbon(config.carbon, f"{path}.carbon", is_valid)
    if config.capital is not None and config.price is None and is_valid(f"{path}.price"):
        yield f"{path}.capital", "expected `price` as well, whose currency it has"


def _check_pue(pue: PueConfig, path: str, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    live = pue.kind == "live"
    if not live and pue.ratio is None and is_valid(f"{path}.ratio"):
        yield f"{path}.ratio", "expected a number of at least 1, but it is missing"
    if live and pue.facility_meter is None and is_valid(f"{path}.facility_meter"):
        yield f"{path}.facility_meter", "expected the meter of the whole facility, but it is missing"
    if pue.kind == "category" and pue.category is None and is_valid(f"{path}.category"):
        yield f"{path}.category", "expected 0, 1, 2 or 3, but it is missing"
    if pue.measured_until is not None and pue.kind not in ("interim", "category"):
        yield f"{path}.measured_until", f"expected no value if kind is {pue.kind}"
    for name, meter in (("facility_meter", pue.facility_meter), ("it_meter", pue.it_meter)):
        if meter is None:
            continue
        if not live:
            yield f"{path}.{name}", f"expected no value if kind is {pue.kind}"
        if meter.scope != "node":
            yield f"{path}.{name}.scope", "expected no value; the meter's key defines its scope"
        yield from check_meter(meter, f"{path}.{name}", is_valid)


def _check_price(price: PriceConfig, path: str, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    if price.per_kwh is None and (price.query is None or price.times) and is_valid(f"{path}.per_kwh"):
        yield f"{path}.per_kwh", "expected a number of at least 0, but it is missing"
    if price.query is not None:
        yield from _check_rate(price.query, f"{path}.query", is_valid)


def _check_carbon(carbon: CarbonConfig, path: str, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    sources = (carbon.grams_co2e_per_kwh, carbon.file, carbon.query)
    if all(source is None for source in sources) and is_valid(path):
        yield f"{path}.grams_co2e_per_kwh", "expected a number of at least 0, but it is missing"
    if carbon.file is not None and carbon.query is not None:
        yield f"{path}.query", "expected no value together with `file`"
    if carbon.query is not None:
        yield from _check_rate(carbon.query, f"{path}.query", is_valid)


def _check_rate(rate: RateConfig, path: str, is_valid: IsValid) -> Iterator[tuple[str, str]]:
    if rate.kind not in RATE_KINDS:
        yield f"{path}.kind", f"expected one of {', '.join(RATE_KINDS)}"
    else:
        yield from check_place(rate, path, is_valid)
