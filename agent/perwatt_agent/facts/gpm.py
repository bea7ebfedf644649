"""Readings of the GPU performance monitor (GPM, on Hopper and newer)."""

from typing import Literal

from msgspec import Struct

GpmMode = Literal["auto", "on", "off"]
"""Whether the chip's performance monitor is used; `auto` gives way to DCGM."""


class GpmReading(Struct, frozen=True, omit_defaults=True):
    """
    What the chip's own performance monitor saw (Hopper and newer): means over `window_seconds`, which end at
    `monotonic_seconds`. Ratios are 0 to 1.

    `cycles` are cumulative counts since the machine was started, by name: `elapsed` and `active` of the SMs,
    then those in which each pipe was at work.
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
