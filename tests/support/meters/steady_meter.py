"""A meter with a constant power that a test sets."""

from collections.abc import Sequence

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.meter import MeterFailure


class SteadyMeter:
    """Shows *watts*, or fails where it has none; refreshed as often as it is asked."""

    name = "rack"

    def __init__(self, clock: ManualClock, watts: float | None, interval_seconds: float = 60.0) -> None:
        self.watts = watts
        self.interval_seconds = interval_seconds
        self._clock = clock

    async def read(self) -> Sequence[MeterSample]:
        if self.watts is None:
            raise MeterFailure("unreachable", "nobody there")
        at = self._clock.monotonic()
        return [MeterSample("pdu", at, power_watts=self.watts, period_seconds=self.interval_seconds)]
