"""Load of the simulated machine: a seeded level, shared by its GPUs and its engine."""

from collections.abc import Callable
from functools import lru_cache
from random import Random

from msgspec import Struct

from perwatt_agent.clock import Clock
from perwatt_agent.gpu.simulated.curve import Curve, Lag

KNOT_SECONDS = 30.0
_KNOTS_PER_MOOD = 4


class _Mood(Struct, frozen=True):
    """How two minutes look: levels are drawn between `low` and `high`, moods by `weight`."""

    weight: float
    low: float
    high: float


_STEADY = _Mood(weight=0.45, low=0.3, high=0.6)
_MOODS = (
    _STEADY,
    _Mood(weight=0.25, low=0.6, high=0.9),  # busy
    _Mood(weight=0.15, low=0.95, high=1.0),  # a burst
    _Mood(weight=0.15, low=0.0, high=0.0),  # no requests
)


class Load:
    """
    The load since this object was made: a level of 0 to 1 at a knot every 30 s, straight in between.

    Equal seeds give equal loads. It begins steady, so that figures appear at once.
    """

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self._seed = seed
        self.started_monotonic_seconds = clock.monotonic()
        self.started_unix_seconds = clock.unix()
        self.level = lru_cache(maxsize=256)(self._level)

    def elapsed_seconds(self) -> float:
        return self._clock.monotonic() - self.started_monotonic_seconds

    def curve(self, of_level: Callable[[float], float]) -> Curve:
        """Return the quantity that is `of_level(level)` at each knot."""
        return Curve(lambda knot: of_level(self.level(knot)), KNOT_SECONDS)

    def lag(self, of_level: Callable[[float], float], lag_seconds: float) -> Lag:
        """Return what trails behind the quantity that is `of_level(level)` at each knot."""
        return Lag(lambda knot: of_level(self.level(knot)), KNOT_SECONDS, lag_seconds)

    def _level(self, knot: int) -> float:
        stretch = knot // _KNOTS_PER_MOOD
        mood = _STEADY
        if stretch > 0:
            draw = Random(f"mood {self._seed} {stretch}")
            mood = draw.choices(_MOODS, [each.weight for each in _MOODS])[0]
        return Random(f"level {self._seed} {knot}").uniform(mood.low, mood.high)
