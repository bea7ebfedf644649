"""One facility: what is known of it over any window, and what it must be asked for."""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.meters.build import build_meter, build_reader, interval_seconds
from perwatt_aggregator.facility.config import CarbonConfig, FacilityConfig, PriceConfig, PueConfig
from perwatt_aggregator.facility.history import EnergyHistory, Measured, measured
from perwatt_aggregator.facility.polling import Asked, Source
from perwatt_aggregator.facility.pue import pue_in_use
from perwatt_aggregator.facility.pue_energies import MeteredEnergy, NodesEnergy, SharedEnergy
from perwatt_aggregator.facility.rates import HoursFile, PolledRate
from perwatt_aggregator.facility.state import CapitalInUse, CarbonInUse, FacilityState, PriceInUse
from perwatt_aggregator.facility.tariff import Tariff
from perwatt_aggregator.optional import complete_total
from perwatt_aggregator.readings.agent import Agent

SECONDS_PER_HOUR = 3600.0


class Energies(Struct, frozen=True):
    """The two energies of a live PUE."""

    facility: MeteredEnergy
    it: MeteredEnergy | NodesEnergy


class Facility:
    """
    The facility of *config*, in which *nodes* stand; on the meters in *shared* hang nodes of it alone.

    `sources` must be run for what it is asked for. Raises ValueError where a meter cannot be built.
    """

    def __init__(
        self,
        config: FacilityConfig,
        clock: Clock,
        nodes: Sequence[Agent] = (),
        shared: Sequence[SharedEnergy] = (),
    ) -> None:
        self.config = config
        self.nodes = tuple(nodes)
        self._clock = clock
        self._energies = _energies(config.pue, self.nodes, shared, clock)
        self._tariff = Tariff(config.price) if config.price and config.price.per_kwh is not None else None
        self._price = _asked_price(config.price, clock)
        self._carbon = _asked_carbon(config.carbon, clock)
        self._summed: Measured | None = None
        self._summed_at = 0.0
        self._summed_of: tuple[float | None, ...] = ()
        self.sources = tuple(Source(config.name, asked, clock) for asked in self._asked())

    def state(self, start_unix: float, end_unix: float) -> FacilityState:
        """What holds between two instants."""
        pue, reasons = pue_in_use(self.config.pue, self.measured(), end_unix)
        found = list(reasons)
        return FacilityState(
            self.config.name,
            pue,
            self._price_in_use(start_unix, end_unix, found),
            self._carbon_in_use(start_unix, end_unix, found),
            self._capital_in_use(),
            tuple(found),
        )

    def measured(self) -> Measured | None:
        """The energies of the PUE over its period, until now; None where none are measured."""
        if self._energies is None:
            return None
        (facility,), it = self._energies.facility.histories, self._energies.it.histories
        now = self._clock.monotonic()
        # A day's minutes of many nodes are summed anew only when there is something new.
        basis = (now // facility.slice_seconds, *(history.last_seconds for history in (facility, *it)))
        if basis != self._summed_of:
            self._summed, self._summed_at, self._summed_of = measured(facility, it, now), now, basis
        if self._summed is None:
            return None
        return replace(self._summed, age_seconds=self._summed.age_seconds + now - self._summed_at)

    @property
    def facility_joules_total(self) -> float | None:
        """All joules that the facility's meter showed since the start; None without a meter that did."""
        return _total(self._energies.facility.histories) if self._energies else None

    @property
    def it_joules_total(self) -> float | None:
        """All joules of IT that were measured since the start; None unless all of IT is."""
        return _total(self._energies.it.histories) if self._energies else None

    def _asked(self) -> Iterator[Asked]:
        if self._energies is not None:
            yield self._energies.facility
            yield self._energies.it
        if self._price is not None:
            yield self._price
        if self._carbon is not None:
            yield self._carbon

    def _price_in_use(self, start_unix: float, end_unix: float, reasons: list[str]) -> PriceInUse | None:
        config = self.config.price
        if config is None:
            return None
        if self._price is not None:
            asked = self._price.now()
            if asked is not None:
                return PriceInUse(config.currency, asked[0], "query", asked[1])
            reasons.append("price_stale")
        if self._tariff is None:
            return None
        per_kwh = self._tariff.per_kwh(start_unix, end_unix)
        return PriceInUse(config.currency, per_kwh, "time_of_use" if config.times else "flat")

    def _carbon_in_use(self, start_unix: float, end_unix: float, reasons: list[str]) -> CarbonInUse | None:
        config, asked = self.config.carbon, self._carbon
        if config is None:
            return None
        if isinstance(asked, PolledRate) and (told := asked.now()) is not None:
            return CarbonInUse(told[0], config.kind, "query", told[1])
        if isinstance(asked, HoursFile) and (grams := asked.mean(start_unix, end_unix)) is not None:
            return CarbonInUse(grams, config.kind, "file")
        if asked is not None:
            reasons.append("carbon_stale")
        if config.grams_co2e_per_kwh is None:
            return None
        return CarbonInUse(config.grams_co2e_per_kwh, config.kind, "flat")

    def _capital_in_use(self) -> CapitalInUse | None:
        capital, price = self.config.capital, self.config.price
        if capital is None or price is None:
            return None
        return CapitalInUse(price.currency, capital.per_gpu_hour / SECONDS_PER_HOUR)


def _energies(
    config: PueConfig | None, nodes: Sequence[Agent], shared: Sequence[SharedEnergy], clock: Clock
) -> Energies | None:
    if config is None or config.facility_meter is None:
        return None
    facility = MeteredEnergy("facility", build_meter(config.facility_meter, clock), config.period)
    if config.it_meter is None:
        return Energies(facility, NodesEnergy("it", nodes, config.period, shared))
    return Energies(facility, MeteredEnergy("it", build_meter(config.it_meter, clock), config.period))


def _asked_price(config: PriceConfig | None, clock: Clock) -> PolledRate | None:
    if config is None or config.query is None:
        return None
    query = config.query
    return PolledRate("price", query, build_reader(query, clock), interval_seconds(query), clock)


def _asked_carbon(config: CarbonConfig | None, clock: Clock) -> PolledRate | HoursFile | None:
    if config is None or (config.query is None and config.file is None):
        return None
    if config.file is not None:
        return HoursFile(config.file)
    assert config.query is not None
    query = config.query
    return PolledRate("carbon", query, build_reader(query, clock), interval_seconds(query), clock)


def _total(histories: Sequence[EnergyHistory]) -> float | None:
    return complete_total(
        None if history.first_seconds is None else history.joules_total for history in histories
    )
