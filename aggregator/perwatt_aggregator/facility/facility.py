"""One facility: what is known of it, over any window."""

from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.facility.state import CarbonInUse, FacilityState, PriceInUse, PueInUse

JOULES_PER_KILOWATT_HOUR = 3.6e6


class Facility:
    """Answers what holds of the facility in *config* over a window of its nodes."""

    def __init__(self, config: FacilityConfig) -> None:
        self.config = config

    def state(self, start_unix: float, end_unix: float) -> FacilityState:
        """What holds between two instants."""
        pue, price, carbon = self.config.pue, self.config.price, self.config.carbon
        return FacilityState(
            self.config.name,
            PueInUse(pue.ratio, pue.kind) if pue else None,
            PriceInUse(price.currency, price.per_kwh / JOULES_PER_KILOWATT_HOUR, "flat") if price else None,
            CarbonInUse(carbon.grams_co2e_per_kwh / JOULES_PER_KILOWATT_HOUR, carbon.kind, "flat")
            if carbon
            else None,
            reasons=("no_pue",) if pue is None else (),
        )
