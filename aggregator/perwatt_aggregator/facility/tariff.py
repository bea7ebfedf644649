"""Time-of-use tariff: the price of a kilowatt-hour at an instant, and its mean over a window."""

import math
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from perwatt_aggregator.facility.config import PriceConfig, TimeOfUseConfig

_MINUTE = 60.0


class Tariff:
    """
    The prices of *config* by the local time of its zone, with days of 23 and 25 hours.

    A price is valid for whole minutes, so that a mean over minutes is exact.
    """

    def __init__(self, config: PriceConfig) -> None:
        assert config.per_kwh is not None, "checked with the configuration"
        self._otherwise = config.per_kwh
        self._times = config.times
        self._zone = ZoneInfo(config.time_zone)

    def per_kwh(self, start_unix: float, end_unix: float) -> float:
        """The mean price between two instants, weighted by time; of one instant, its price."""
        if not self._times or end_unix <= start_unix:
            return self._at(end_unix)
        total, at = 0.0, start_unix
        while at < end_unix:
            next_minute = min(end_unix, (math.floor(at / _MINUTE) + 1) * _MINUTE)
            total += (next_minute - at) * self._at(at)
            at = next_minute
        return total / (end_unix - start_unix)

    def _at(self, unix_seconds: float) -> float:
        local = datetime.fromtimestamp(unix_seconds, timezone.utc).astimezone(self._zone)
        return next((row.per_kwh for row in self._times if _applies(row, local)), self._otherwise)


def _applies(row: TimeOfUseConfig, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    start, end = row.hours
    if start < end:
        return start <= minute < end and local.weekday() in row.days
    # Across midnight, hours belong to the day on which they begin.
    if minute < end:
        return (local.date() - timedelta(days=1)).weekday() in row.days
    return minute >= start and local.weekday() in row.days
