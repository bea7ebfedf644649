"""What each GPU did in a window, whoever it did it for."""

from typing import Literal

from msgspec import Struct

ActivitySource = Literal["counter", "gauge"]


class Mean(Struct, frozen=True):
    """
    A share of time, 0 to 1 where what was read makes sense, and how much of the window it was read in.

    `source` tells the exact difference of two readings of a counter from the mean of readings of a gauge.
    """

    ratio: float
    coverage_ratio: float
    source: ActivitySource


class Traffic(Struct, frozen=True):
    """
    Bytes a second over one kind of link, each way; `reset` when a counter fell, so that bytes are missing.
    """

    transmitted_bytes_per_second: float
    received_bytes_per_second: float
    coverage_ratio: float
    reset: bool


class GpuActivity(Struct, frozen=True):
    """
    One GPU: the time in which it answered, and of that time the part in which its SMs, and their tensor
    cores, were at work. What it does not tell is None. `pcie_bytes_per_second` is what its slot carries,
    each way.
    """

    name: str = ""
    up: Mean | None = None
    sm_active: Mean | None = None
    tensor_active: Mean | None = None
    pcie: Traffic | None = None
    nvlink: Traffic | None = None
    pcie_bytes_per_second: float | None = None
