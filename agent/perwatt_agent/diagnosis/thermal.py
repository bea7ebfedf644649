"""Thermal trend of a GPU: whether it cools worse than before at equal power."""

import math

BAND_WATTS = 50.0
"""Powers this close are compared with each other."""
USUAL_SECONDS = 6 * 3600.0
NOW_SECONDS = 600.0
MIN_USUAL_SECONDS = 3600.0
MAX_STEP_SECONDS = 60.0


class _Mean:
    """Exponential mean over `memory_seconds`, and the time that it covers."""

    def __init__(self, memory_seconds: float) -> None:
        self._memory_seconds = memory_seconds
        self.value = 0.0
        self.seconds = 0.0

    def add(self, value: float, seconds: float) -> None:
        self.seconds += seconds
        weight = -math.expm1(-seconds / min(self._memory_seconds, self.seconds))
        self.value += weight * (value - self.value) if self.seconds > seconds else value - self.value


class ThermalTrend:
    """
    Thermal margin of the last minutes compared with that of the last hours, at equal power.

    The margin is the number of degrees to the limit. For a GPU without a margin its negative temperature
    stands in, which shrinks by the same degrees.
    """

    def __init__(self) -> None:
        self._bands: dict[int, tuple[_Mean, _Mean]] = {}
        self._last: float | None = None
        self.shrunk_celsius = 0.0

    def add(self, now: float, power_watts: float | None, margin_celsius: float | None) -> None:
        seconds = 0.0 if self._last is None else min(now - self._last, MAX_STEP_SECONDS)
        self._last = now
        self.shrunk_celsius = 0.0
        if power_watts is None or margin_celsius is None or seconds <= 0.0:
            return
        band = int(power_watts // BAND_WATTS)
        usual, recent = self._bands.setdefault(band, (_Mean(USUAL_SECONDS), _Mean(NOW_SECONDS)))
        usual.add(margin_celsius, seconds)
        recent.add(margin_celsius, seconds)
        if usual.seconds >= MIN_USUAL_SECONDS:
            self.shrunk_celsius = max(0.0, usual.value - recent.value)
