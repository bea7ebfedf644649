"""Families of GPU throttling: reasons that hold clocks down, for how long so far, and now."""

from collections.abc import Callable
from typing import get_args

from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.gpu_status import ThrottleReason
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import Values, each, of_reading, of_slow_reading
from perwatt_exporter.page.family import Family

COUNTED = (
    *("sw_power_cap", "thermal", "sync_boost", "board_limit", "low_utilization", "reliability"),
    *("sw_thermal", "hw_thermal", "hw_power_brake"),
)
ACTIVE: tuple[str, ...] = get_args(ThrottleReason)


def _counted(reason: str) -> Callable[[GpuReading], float | None]:
    return lambda reading: reading.throttled_seconds.get(reason)


def _active(slow: GpuSlowReading) -> Values:
    if slow.throttle_reasons is not None:
        for reason in ACTIVE:
            if reason not in slow.throttle_reasons_unknown:
                yield (reason,), reason in slow.throttle_reasons


FAMILIES: tuple[Family[Snapshot], ...] = (
    of_reading(
        "perwatt_gpu_throttled_seconds_total",
        "Seconds in which clocks were lowered, by reason, from the driver's own counters. Reasons overlap: "
        "do not add them. sw_thermal, hw_thermal and hw_power_brake need driver 575 or newer. sw_power_cap "
        "is absent on GeForce boards of Turing, which count it far below their power limit.",
        each({reason: _counted(reason) for reason in COUNTED}),
        ("reason",),
        {"reason": COUNTED},
    ),
    of_slow_reading(
        "perwatt_gpu_throttle_active",
        "1 for each reason for which clocks are lower now than they could be, else 0; several reasons may "
        "be active.",
        _active,
        ("reason",),
        {"reason": ACTIVE},
    ),
)
