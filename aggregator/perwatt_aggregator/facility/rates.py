"""Rates per kilowatt-hour from outside: a price or carbon intensity of a query, carbon hours of a file."""

from pathlib import Path

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.figure import FigureReader
from perwatt_aggregator.facility.carbon_hours import Hours, plausible_grams, read_hours
from perwatt_aggregator.facility.config import RateConfig
from perwatt_aggregator.schema.facility import SourceName
from perwatt_aggregator.validity.thresholds import MAX_PRICE_PER_KWH

KILOWATT_HOURS: dict[str, float] = {"kilowatt_hour": 1.0, "megawatt_hour": 1000.0}
FILE_SECONDS = 60.0


class Rate(Struct, frozen=True):
    """A rate per kilowatt-hour, and its age."""

    per_kwh: float
    age_seconds: float


class PolledRate:
    """A rate that *reader* reads in the unit of *config*; an `Input`."""

    def __init__(
        self,
        name: SourceName,
        config: RateConfig,
        reader: FigureReader,
        interval_seconds: float,
        clock: Clock,
    ) -> None:
        self.name: SourceName = name
        self.interval_seconds = interval_seconds
        self._config = config
        self._reader = reader
        self._clock = clock
        self._last: tuple[float, float] | None = None  # when it was measured, and the rate

    async def read(self) -> None:
        figure = await self._reader.read()
        per_kwh = figure.value * self._config.factor / KILOWATT_HOURS[self._config.per]
        # A price may be negative.
        if not abs(per_kwh) <= MAX_PRICE_PER_KWH:
            raise MeterFailure(
                "implausible", f"a {self.name} of {per_kwh:g} per kilowatt-hour is not plausible; check `per`"
            )
        if self.name == "carbon":
            plausible_grams(per_kwh)
        self._last = (self._clock.monotonic() - figure.age_seconds, per_kwh)

    def latest(self) -> Rate | None:
        """The newest rate; None if it is older than `max_age`, or there is none."""
        if self._last is None:
            return None
        measured, per_kwh = self._last
        age_seconds = self._clock.monotonic() - measured
        return Rate(per_kwh, max(0.0, age_seconds)) if age_seconds <= self._config.max_age else None


class HoursFile:
    """Hourly carbon intensities in a file that is replaced now and then; an `Input`."""

    name: SourceName = "carbon"
    interval_seconds = FILE_SECONDS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[float, int] | None = None
        self._hours = Hours({})

    async def read(self) -> None:
        try:
            status = self._path.stat()
        except OSError as error:
            raise MeterFailure("absent", f"{self._path}: {error.strerror}") from None
        version = (status.st_mtime, status.st_size)
        if version != self._version:
            self._hours = read_hours(self._path)
            self._version = version

    def mean(self, start_unix: float, end_unix: float) -> float | None:
        """Mean grams per kilowatt-hour over a window; None if the file does not cover it."""
        return self._hours.mean(start_unix, end_unix)
