"""Families of GPU temperature limits and fans."""

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import entries, of_slow_reading, only
from perwatt_exporter.page.family import Family

THRESHOLDS = {"threshold": ("shutdown", "slowdown", "memory_max", "gpu_max")}

FAMILIES: tuple[Family[Snapshot], ...] = (
    of_slow_reading(
        "perwatt_gpu_temperature_margin_celsius",
        "Degrees Celsius left until the GPU lowers its clocks because of heat; negative beyond that "
        "temperature. Ada and newer, but not GeForce.",
        only(lambda slow: slow.temperature_margin_celsius),
    ),
    of_slow_reading(
        "perwatt_gpu_temperature_margin_threshold_celsius",
        "The margin in degrees Celsius at which the GPU reacts; a negative one is beyond its temperature "
        "limit. Ada and newer, but not GeForce.",
        entries(lambda slow: slow.temperature_margins_celsius),
        ("threshold",),
        THRESHOLDS,
    ),
    of_slow_reading(
        "perwatt_gpu_temperature_threshold_celsius",
        "The temperature in degrees Celsius at which the GPU reacts; boards before Ada, and GeForce.",
        entries(lambda slow: slow.temperature_thresholds_celsius),
        ("threshold",),
        THRESHOLDS,
    ),
    of_slow_reading(
        "perwatt_gpu_fan_speed_ratio",
        "Intended speed of each fan on the board as a share of its full speed, 0 to 1.",
        lambda slow: (((str(fan),), ratio) for fan, ratio in enumerate(slow.fan_ratios)),
        ("fan",),
    ),
)
