"""Activity of each GPU in a window, of all its workloads together."""

from typing import Literal

from msgspec import Struct

ActivitySource = Literal["counter", "gauge"]


class Mean(Struct, frozen=True):
    """
    A share of time, 0 to 1 if the readings are plausible, and the share of the window with readings.

    `source` is `counter` for the exact difference of two readings, `gauge` for a mean of readings.
    """

    ratio: float
    coverage_ratio: float
    source: ActivitySource


class Traffic(Struct, frozen=True):
    """
    Bytes per second over one kind of link, in each direction; with `reset`, bytes before it are missing.
    """

    transmitted_bytes_per_second: float
    received_bytes_per_second: float
    coverage_ratio: float
    reset: bool


class GpuActivity(Struct, frozen=True):
    """
    One GPU: the share of time in which it answered, and in which its SMs and tensor cores were active.

    None if the GPU does not report it. `pcie_bytes_per_second` is the rate of its slot in each direction.
    """

    name: str = ""
    up: Mean | None = None
    sm_active: Mean | None = None
    tensor_active: Mean | None = None
    pcie: Traffic | None = None
    nvlink: Traffic | None = None
    pcie_bytes_per_second: float | None = None
    power_limit_watts: float | None = None
