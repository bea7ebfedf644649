"""Facility: its PUE, price and carbon intensity over any window, and the inputs that they are read from."""

from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.clock import Clock
from perwatt_agent.meters.build import build_meter, build_reader, interval_seconds
from perwatt_aggregator.facility.config import CarbonConfig, FacilityConfig, PriceConfig, PueConfig
from perwatt_aggregator.facility.history import MeasuredEnergies, measured_energies
from perwatt_aggregator.facility.polling import Input, InputPoller
from perwatt_aggregator.facility.pue import pue_in_use
from perwatt_aggregator.facility.pue_energies import MeteredEnergy, NodesEnergy, SharedEnergy
from perwatt_aggregator.facility.rates import HoursFile, PolledRate
from perwatt_aggregator.facility.state import CapitalInUse, CarbonInUse, FacilityState, PriceInUse
from perwatt_aggregator.facility.tariff import Tariff
from perwatt_aggregator.readings.agent import Agent

SECONDS_PER_HOUR = 3600.0


class Energies(Struct, frozen=True):
    """The two energies of a live PUE."""

    facility: MeteredEnergy
    it: MeteredEnergy | NodesEnergy


class Facility:
    """
    The facility of *config* with its *nodes*; the meters in *shared* cover only nodes of this facility, and
    *elsewhere* are the nodes of other facilities.

    Its `pollers` must be run. Raises ValueError if a meter cannot be built.
    """

    def __init__(
        self,
        config: FacilityConfig,
        clock: Clock,
        nodes: Sequence[Agent] = (),
        shared: Sequence[SharedEnergy] = (),
        elsewhere: Sequence[Agent] = (),
    ) -> None:
        self.config = config
        self.nodes = tuple(nodes)
        self._clock = clock
        self._energies = _energies(config.pue, clock, self.nodes, shared, elsewhere)
        self._tariff = Tariff(config.price) if config.price and config.price.per_kwh is not None else None
        self._price = _polled_price(config.price, clock)
        self._carbon = _polled_carbon(config.carbon, clock)
        self._measured: MeasuredEnergies | None = None
        self._measured_at = 0.0
        self._measured_of: tuple[float | None, ...] = ()
        self.pollers = tuple(InputPoller(config.name, one, clock) for one in self._inputs())

    def state(self, start_unix: float, end_unix: float) -> FacilityState:
        """The state of the facility between two instants."""
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

    def follow(
        self, nodes: Sequence[Agent], shared: Sequence[SharedEnergy], elsewhere: Sequence[Agent]
    ) -> None:
        """Take over *nodes* and *shared* meters; what others measured stays in the period of the PUE."""
        self.nodes = tuple(nodes)
        if self._energies is not None and isinstance(self._energies.it, NodesEnergy):
            self._energies.it.follow(nodes, shared, elsewhere)

    def measured(self) -> MeasuredEnergies | None:
        """The energies of the PUE over its period, up to now; None if they are not measured."""
        if self._energies is None:
            return None
        (facility,), it = self._energies.facility.histories, self._energies.it.histories
        now = self._clock.monotonic()
        # To add up a day of minutes of many nodes takes time: only if there is a new reading.
        basis = (now // facility.slice_seconds, *(history.last_seconds for history in (facility, *it)))
        if basis != self._measured_of:
            self._measured, self._measured_at, self._measured_of = (
                measured_energies(facility, it, now),
                now,
                basis,
            )
        if self._measured is None:
            return None
        return replace(self._measured, age_seconds=self._measured.age_seconds + now - self._measured_at)

    @property
    def facility_joules_total(self) -> float | None:
        """Joules at the facility's meter since the start; None if there is no meter, or no reading yet."""
        return self._energies.facility.joules_total if self._energies else None

    @property
    def it_joules_total(self) -> float | None:
        """Joules of IT since the start; None unless all of IT is measured."""
        return self._energies.it.joules_total if self._energies else None

    def _inputs(self) -> Iterator[Input]:
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
            latest = self._price.latest()
            if latest is not None:
                return PriceInUse(config.currency, latest.per_kwh, "query", latest.age_seconds)
            reasons.append("price_stale")
        if self._tariff is None:
            return None
        per_kwh = self._tariff.per_kwh(start_unix, end_unix)
        return PriceInUse(config.currency, per_kwh, "time_of_use" if config.times else "flat")

    def _carbon_in_use(self, start_unix: float, end_unix: float, reasons: list[str]) -> CarbonInUse | None:
        config, carbon = self.config.carbon, self._carbon
        if config is None:
            return None
        if isinstance(carbon, PolledRate) and (latest := carbon.latest()) is not None:
            return CarbonInUse(latest.per_kwh, config.kind, "query", latest.age_seconds)
        if isinstance(carbon, HoursFile) and (grams := carbon.mean(start_unix, end_unix)) is not None:
            return CarbonInUse(grams, config.kind, "file")
        if carbon is not None:
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
    config: PueConfig | None,
    clock: Clock,
    nodes: Sequence[Agent],
    shared: Sequence[SharedEnergy],
    elsewhere: Sequence[Agent],
) -> Energies | None:
    if config is None or config.facility_meter is None:
        return None
    facility = MeteredEnergy("facility", build_meter(config.facility_meter, clock), config.period)
    if config.it_meter is None:
        return Energies(facility, NodesEnergy("it", nodes, config.period, clock, shared, elsewhere))
    return Energies(facility, MeteredEnergy("it", build_meter(config.it_meter, clock), config.period))


def _polled_price(config: PriceConfig | None, clock: Clock) -> PolledRate | None:
    if config is None or config.query is None:
        return None
    query = config.query
    return PolledRate("price", query, build_reader(query, clock), interval_seconds(query), clock)


def _polled_carbon(config: CarbonConfig | None, clock: Clock) -> PolledRate | HoursFile | None:
    if config is None or (config.query is None and config.file is None):
        return None
    if config.file is not None:
        return HoursFile(config.file)
    assert config.query is not None
    query = config.query
    return PolledRate("carbon", query, build_reader(query, clock), interval_seconds(query), clock)
