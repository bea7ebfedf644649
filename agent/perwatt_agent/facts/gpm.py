"""Readings of the GPU performance monitor (GPM, on Hopper and newer)."""

from typing import Literal

from msgspec import Struct

GpmMode = Literal["auto", "on", "off"]
"""Whether the performance monitor is used; `auto` leaves it to DCGM if that runs."""


class GpmReading(Struct, frozen=True, omit_defaults=True):
    """
    One reading of the performance monitor: means over `window_seconds`, which end at `monotonic_seconds`.
    Ratios are 0 to 1.

    `cycles` are cumulative counts since the machine started, by name: `elapsed` and `active` of the SMs, and
    the active cycles of each pipe.
    """

    monotonic_seconds: float
    window_seconds: float
    sm_active_ratio: float | None = None
    sm_occupancy_ratio: float | None = None
    tensor_active_ratio: float | None = None
    fp64_active_ratio: float | None = None
    fp32_active_ratio: float | None = None
    fp16_active_ratio: float | None = None
    dram_bandwidth_ratio: float | None = None
    pcie_transmitted_bytes_per_second: float | None = None
    pcie_received_bytes_per_second: float | None = None
    nvlink_transmitted_bytes_per_second: float | None = None
    nvlink_received_bytes_per_second: float | None = None
    cycles: dict[str, float] = {}
