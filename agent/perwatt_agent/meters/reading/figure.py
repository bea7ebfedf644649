"""Meter of one number that is kept elsewhere: in a database, a document or a file."""

import math
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import UNITS, measured, plausible_joules, plausible_watts

VALID_PERIODS = 3.0
"""A number that is older than this many periods of its meter is stale."""


class Figure(Struct, frozen=True):
    """
    Number as it is kept, in its own unit, measured *age_seconds* before it was read.

    `mark` is the instant of measurement by the keeper's clock, None if there is none: two figures with the
    same mark are the same reading.
    """

    value: float
    age_seconds: float = 0.0
    mark: float | None = None


class FigureReader(Protocol):
    """Reader of a number. `read` raises MeterFailure, and does not block the loop."""

    async def read(self) -> Figure: ...


class FigureMeter:
    """Meter whose number *reader* reads; *config* has its unit, factor and scope."""

    def __init__(
        self, config: MeterConfig, reader: FigureReader, clock: Clock, interval_seconds: float
    ) -> None:
        self.name = config.label
        self.interval_seconds = interval_seconds
        self._config = config
        self._reader = reader
        self._clock = clock
        self._unit = UNITS[config.unit or "watts"]
        self._last: tuple[float | None, float] = (None, 0.0)  # the mark and the instant of the last figure

    async def read(self) -> Sequence[MeterSample]:
        figure = await self._reader.read()
        if not math.isfinite(figure.age_seconds) or not math.isfinite(figure.mark or 0.0):
            raise MeterFailure("malformed", "the time of the newest reading is not a number")
        self._refuse_old(figure.age_seconds)
        instant = self._instant(figure)
        self._refuse_old(self._clock.monotonic() - instant)
        is_energy = self._unit.is_energy
        shown = measured(figure.value, is_counter=is_energy)
        value = shown * self._config.factor * self._unit.base_units
        return (
            MeterSample(
                source=self._config.source or self._config.kind,
                monotonic_seconds=instant,
                power_watts=None if is_energy else plausible_watts(value),
                energy_joules=plausible_joules(value) if is_energy else None,
                scope=self._config.scope,
                period_seconds=self.interval_seconds,
            ),
        )

    def _refuse_old(self, age_seconds: float) -> None:
        if age_seconds > VALID_PERIODS * self.interval_seconds:
            raise MeterFailure(
                "stale", f"the newest reading is {age_seconds:.0f} s old; check its writer and `interval`"
            )

    def _instant(self, figure: Figure) -> float:
        """
        Return the instant of measurement in monotonic seconds, never before that of the previous reading.

        The same reading keeps its instant, even if one of the two clocks is adjusted; so does one that is
        older by less than an interval, as from the second of two servers. Raises MeterFailure for an older
        one: its keeper's clock went back, and what it shows is not the present.
        """
        mark, instant = self._last
        if mark is None or figure.mark is None or figure.mark != mark:
            instant = max(instant, self._clock.monotonic() - figure.age_seconds)
        self._last = (figure.mark, instant)
        if mark is not None and figure.mark is not None and mark - figure.mark >= self.interval_seconds:
            raise MeterFailure(
                "implausible",
                f"the newest reading is {mark - figure.mark:.0f} s older than the one before it; "
                "check whether its writer's clock went back, or whether there are two writers",
            )
        return instant
