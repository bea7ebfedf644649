"""Faults of energy counters and of power: of another scale, frozen, falling, absurd."""

import math
from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from oracle.faults.fault import Fault, Heal, a_gpu
from oracle.fleet import TrueFleet
from perwatt_agent.facts.gpu_reading import GpuReading

ABSURD = (math.nan, math.inf, -1.0, 0.0, 1e308, 1e15)


def _scaled_counter(fleet: TrueFleet, random: Random) -> None:
    _, gpu = a_gpu(fleet, random)
    gpu.counter_scale = random.choice((0.001, 0.5, 1.3, 1.75))


def _stopped_counter(fleet: TrueFleet, random: Random) -> Heal:
    _, gpu = a_gpu(fleet, random)
    gpu.counter_stops_at = fleet.clock.monotonic()

    def heal() -> None:
        gpu.counter_stops_at = None

    return heal


def _no_counter(fleet: TrueFleet, random: Random) -> None:
    for gpu in random.choice(fleet.nodes).gpus:
        gpu.has_counter = False


def _forgetful_counter(fleet: TrueFleet, random: Random) -> Heal:
    """A counter that stands still, and never counts what was used meanwhile."""
    _, gpu = a_gpu(fleet, random)
    stopped = gpu.counter_stops_at = fleet.clock.monotonic()

    def heal() -> None:
        gpu.counter_base -= gpu.watts.between(stopped, fleet.clock.monotonic())
        gpu.counter_stops_at = None

    return heal


def _reset_counter(fleet: TrueFleet, random: Random) -> None:
    _, gpu = a_gpu(fleet, random)
    gpu.counter_base = -gpu.watts.total(fleet.clock.monotonic())


def _fallen_counter(fleet: TrueFleet, random: Random) -> Heal:
    """A counter that falls by a random amount, and comes back."""
    _, gpu = a_gpu(fleet, random)
    joules = random.choice((1e2, 1e4, 1e5, 9e5))
    gpu.counter_base -= joules

    def heal() -> None:
        gpu.counter_base += joules

    return heal


def _spoilt(change: Callable[[GpuReading, Random], GpuReading]) -> Callable[[TrueFleet, Random], Heal]:
    """A GPU of whose readings about half are changed."""

    def begin(fleet: TrueFleet, random: Random) -> Heal:
        _, gpu = a_gpu(fleet, random)
        gpu.spoil = lambda reading: change(reading, random) if random.random() < 0.5 else reading

        def heal() -> None:
            gpu.spoil = None

        return heal

    return begin


def _absurd_counter(reading: GpuReading, random: Random) -> GpuReading:
    return replace(reading, energy_joules=random.choice(ABSURD))


def _absurd_power(reading: GpuReading, random: Random) -> GpuReading:
    return replace(reading, power_watts=random.choice(ABSURD))


def _without_counter(reading: GpuReading, random: Random) -> GpuReading:
    return replace(reading, energy_joules=None)


def _without_power(reading: GpuReading, random: Random) -> GpuReading:
    return replace(reading, power_watts=None)


ROWS = (
    Fault("an energy counter has another scale", _scaled_counter, from_start=True),
    Fault("an energy counter stands still", _stopped_counter),
    Fault("an energy counter stands still and forgets", _forgetful_counter),
    Fault("an energy counter is reset", _reset_counter),
    Fault("an energy counter falls and comes back", _fallen_counter),
    Fault("an energy counter is absurd at times", _spoilt(_absurd_counter)),
    Fault("an energy counter is missing at times", _spoilt(_without_counter)),
    Fault("a GPU's power is absurd at times", _spoilt(_absurd_power)),
    Fault("a GPU's power is missing at times", _spoilt(_without_power)),
    Fault("a node has no energy counters", _no_counter, from_start=True),
)
