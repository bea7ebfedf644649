"""
What a fake GPU draws over time, and the exact joules of it.

The formulas stand apart from those in physics.c, so that one can test the other. Seconds count from the start
of the waveform.
"""

import math
from typing import ClassVar, Protocol

from msgspec import Struct
from msgspec.structs import astuple


class Waveform(Protocol):
    """Power as a function of time: `parameters` are those of its kind in physics.c."""

    kind: ClassVar[int]

    @property
    def parameters(self) -> tuple[float, ...]: ...

    def joules(self, seconds: float) -> float:
        """The exact integral from the start."""
        ...


class _Parameters(Struct, frozen=True):
    @property
    def parameters(self) -> tuple[float, ...]:
        return tuple(float(value) for value in astuple(self))


class Constant(_Parameters, frozen=True):
    """Always the same power."""

    kind: ClassVar[int] = 0
    watts: float

    def joules(self, seconds: float) -> float:
        return self.watts * seconds


class Square(_Parameters, frozen=True):
    """Bursts: `high_watts` for the first `duty` of each period, else `low_watts`."""

    kind: ClassVar[int] = 1
    low_watts: float
    high_watts: float
    period_seconds: float
    duty: float
    phase_seconds: float = 0.0

    def joules(self, seconds: float) -> float:
        high = self._high_seconds(seconds + self.phase_seconds) - self._high_seconds(self.phase_seconds)
        return self.high_watts * high + self.low_watts * (seconds - high)

    def _high_seconds(self, seconds: float) -> float:
        periods, rest = divmod(seconds, self.period_seconds)
        return self.duty * periods * self.period_seconds + min(rest, self.duty * self.period_seconds)


class Ramp(_Parameters, frozen=True):
    """A straight line from `first_watts` to `last_watts`, which is held from then on."""

    kind: ClassVar[int] = 2
    first_watts: float
    last_watts: float
    duration_seconds: float

    def joules(self, seconds: float) -> float:
        rising = min(seconds, self.duration_seconds)
        reached = self.first_watts + (self.last_watts - self.first_watts) * rising / self.duration_seconds
        return (self.first_watts + reached) / 2 * rising + self.last_watts * (seconds - rising)


class Sine(_Parameters, frozen=True):
    """A sine around `mean_watts`."""

    kind: ClassVar[int] = 3
    mean_watts: float
    amplitude_watts: float
    period_seconds: float
    phase_seconds: float = 0.0

    def joules(self, seconds: float) -> float:
        turn = 2 * math.pi / self.period_seconds
        middle = math.sin(turn * (seconds / 2 + self.phase_seconds)) * math.sin(turn * seconds / 2)
        return self.mean_watts * seconds + 2 * self.amplitude_watts / turn * middle


class Track:
    """The waveforms of one GPU, one after the other."""

    def __init__(self) -> None:
        self.segments: list[tuple[float, Waveform]] = []

    def append(self, start_seconds: float, waveform: Waveform) -> None:
        """From `start_seconds` on draw `waveform`; what was planned for later is dropped."""
        self.segments = [segment for segment in self.segments if segment[0] < start_seconds]
        self.segments.append((start_seconds, waveform))

    def joules(self, begin_seconds: float, end_seconds: float) -> float:
        return self._until(end_seconds) - self._until(begin_seconds)

    def _until(self, instant: float) -> float:
        ends = [start for start, _ in self.segments[1:]] + [math.inf]
        return math.fsum(
            waveform.joules(min(end, instant) - start)
            for (start, waveform), end in zip(self.segments, ends, strict=True)
            if start < instant
        )
