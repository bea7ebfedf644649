"""A meter that is one number which somebody else keeps: in a database, a document, a file."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import UNITS, plausible_joules, plausible_watts

VALID_PERIODS = 3.0
"""A number that is older than so many periods of its meter is not a reading."""


class Figure(Struct, frozen=True):
    """
    A number as its keeper gives it, in units of its own, *age_seconds* before it was read.

    `mark` is the instant of its measurement by the keeper's clock, None where the keeper does not say:
    two figures with one mark are the same reading.
    """

    value: float
    age_seconds: float = 0.0
    mark: float | None = None


class FigureReader(Protocol):
    """Asks the keeper of a number. `read` raises MeterFailure, and does not block the loop."""

    async def read(self) -> Figure: ...


class FigureMeter:
    """The meter of which *reader* reads the number and *config* says what it means."""

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
        if figure.age_seconds > VALID_PERIODS * self.interval_seconds:
            raise MeterFailure("stale", f"the newest reading is {figure.age_seconds:.0f} s old")
        value = figure.value * self._config.factor * self._unit.base_units
        is_energy = self._unit.is_energy
        return (
            MeterSample(
                source=self._config.source or self._config.kind,
                monotonic_seconds=self._instant(figure),
                power_watts=None if is_energy else plausible_watts(value),
                energy_joules=plausible_joules(value) if is_energy else None,
                scope=self._config.scope,
                period_seconds=self.interval_seconds,
            ),
        )

    def _instant(self, figure: Figure) -> float:
        """
        When it was measured, in monotonic seconds; never before the reading that came before it.

        The same reading has the same instant, however the two clocks move against each other.
        """
        mark, instant = self._last
        if mark is None or figure.mark != mark:
            instant = max(instant, self._clock.monotonic() - figure.age_seconds)
        self._last = (figure.mark, instant)
        return instant
