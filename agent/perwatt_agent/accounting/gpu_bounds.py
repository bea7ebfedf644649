"""Bounds of a GPU's energy and power: what no board can have is not read."""

import math

from msgspec.structs import replace

from perwatt_agent.accounting.gpu_counter import FALLBACK_LIMIT_WATTS, LEAP_FACTOR
from perwatt_agent.facts.gpu_reading import GpuReading


def within_bounds(reading: GpuReading, limit_watts: float | None) -> GpuReading:
    """
    Return *reading* without an energy or a power that no board of at most *limit_watts* can have.

    A number that is not finite would spoil every sum that it enters, for ever.
    """
    max_watts = max(FALLBACK_LIMIT_WATTS, LEAP_FACTOR * (limit_watts or 0.0))
    watts, joules = reading.power_watts, reading.energy_joules
    if watts is not None and not 0.0 <= watts <= max_watts:
        reading = replace(reading, power_watts=None)
    if joules is not None and not 0.0 <= joules < math.inf:
        reading = replace(reading, energy_joules=None)
    return reading
