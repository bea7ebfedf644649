"""What a facility's figures come from, asked again and again, and how that fares."""

import logging
from typing import Protocol

from perwatt_agent.clock import Clock
from perwatt_agent.meters.deadline import answer
from perwatt_agent.meters.meter import MeterFailure
from perwatt_aggregator.schema.facility import SourceName

logger = logging.getLogger(__name__)

DEADLINE_SECONDS = 20.0


class Asked(Protocol):
    """
    One thing to ask: `ask` takes in what it answers, and raises MeterFailure where that is nothing.

    `name` says what it tells: the facility's energy, that of IT, the price or the carbon intensity.
    """

    @property
    def name(self) -> SourceName: ...

    @property
    def interval_seconds(self) -> float: ...

    async def ask(self) -> None: ...


class Source:
    """
    Ask *asked* at its pace; whatever becomes of it, no other source is concerned.

    `failure` is why the latest attempt brought nothing: empty where it did, None before the first.
    """

    def __init__(self, facility: str, asked: Asked, clock: Clock) -> None:
        self.asked = asked
        self.failure: str | None = None
        self.last_success_unix: float | None = None
        self._label = f"facility {facility}, {asked.name}"
        self._clock = clock

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self.poll()
            await self._clock.sleep_until(started + self.asked.interval_seconds)

    async def poll(self) -> None:
        """Ask once; a failure is logged when it begins, and its end as well."""
        try:
            await answer(self.asked.ask(), DEADLINE_SECONDS)
        except MeterFailure as failure:
            self._failed(failure.reason, str(failure))
        else:
            if self.failure:
                logger.info("%s: it answers again", self._label)
            self.failure = ""
            self.last_success_unix = self._clock.unix()

    def _failed(self, reason: str, message: str) -> None:
        if reason != self.failure:
            logger.warning("%s: no reading (%s): %s", self._label, reason, message)
        self.failure = reason
