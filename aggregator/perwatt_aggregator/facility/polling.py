"""Polling of a facility's inputs: its meters, its price and its carbon intensity."""

import logging
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_agent.meters.deadline import within_deadline
from perwatt_agent.meters.meter import MeterFailure
from perwatt_aggregator.schema.facility import SourceName

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 20.0
_SETTING_OF: dict[SourceName, str] = {
    "facility": "facility.pue.facility_meter",
    "it": "facility.pue.it_meter",
    "price": "facility.price.query",
    "carbon": "facility.carbon.query",
}


class Input(Protocol):
    """
    One input of a facility. `read` stores the newest value, and raises MeterFailure if there is none.

    `name` is the quantity: the energy of the facility, the energy of IT, the price or the carbon intensity.
    """

    @property
    def name(self) -> SourceName: ...

    @property
    def interval_seconds(self) -> float: ...

    async def read(self) -> None: ...


class InputPoller:
    """
    Reads one input again and again; its failures do not affect other inputs.

    `failure` is the reason of the latest failure: empty after a success, None before the first attempt.
    """

    def __init__(self, facility: str, source: Input, clock: Clock) -> None:
        self.input = source
        self.failure: str | None = None
        self.last_success_unix: float | None = None
        self._label = f"facility {facility}, {source.name}"
        self._clock = clock

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.poll()
            await self._clock.sleep_until(started + self.input.interval_seconds)

    async def poll(self) -> None:
        """Read once. The first of several failures is logged, and so is the first success after them."""
        try:
            await within_deadline(self.input.read(), DEADLINE_SECONDS)
        except MeterFailure as failure:
            self._failed(failure.reason, str(failure))
        else:
            if self.failure:
                logger.info("%s: it answers again", self._label)
            self.failure = ""
            self.last_success_unix = self._clock.unix()

    def _failed(self, reason: str, message: str) -> None:
        if reason != self.failure:
            logger.warning(
                "%s: no reading (%s): %s; check %s",
                self._label,
                reason,
                message,
                _SETTING_OF[self.input.name],
                extra={"kind": reason},
            )
        self.failure = reason
