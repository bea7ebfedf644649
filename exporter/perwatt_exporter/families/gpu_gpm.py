"""What the chip's own performance monitor (GPM) saw; Hopper and newer."""

from collections.abc import Callable

from perwatt_agent.gpufacts import GpmReading
from perwatt_agent.snapshot import GpuReading, Snapshot
from perwatt_exporter.families.of_gpu import Values, each, of_reading
from perwatt_exporter.family import Family

PIPES: dict[str, Callable[[GpmReading], float | None]] = {
    "tensor": lambda gpm: gpm.tensor_active_ratio,
    "fp64": lambda gpm: gpm.fp64_active_ratio,
    "fp32": lambda gpm: gpm.fp32_active_ratio,
    "fp16": lambda gpm: gpm.fp16_active_ratio,
}
LINKS: dict[tuple[str, str], Callable[[GpmReading], float | None]] = {
    ("pcie", "transmitted"): lambda gpm: gpm.pcie_transmitted_bytes_per_second,
    ("pcie", "received"): lambda gpm: gpm.pcie_received_bytes_per_second,
    ("nvlink", "transmitted"): lambda gpm: gpm.nvlink_transmitted_bytes_per_second,
    ("nvlink", "received"): lambda gpm: gpm.nvlink_received_bytes_per_second,
}


def sm_active(gpm: GpmReading) -> Values:
    yield (), gpm.sm_active_ratio


def sm_occupancy(gpm: GpmReading) -> Values:
    yield (), gpm.sm_occupancy_ratio


def dram_bandwidth(gpm: GpmReading) -> Values:
    yield (), gpm.dram_bandwidth_ratio


def _links(gpm: GpmReading) -> Values:
    return ((link, value(gpm)) for link, value in LINKS.items())


def _sm_cycles(gpm: GpmReading) -> Values:
    return (((state,), gpm.cycles.get(state)) for state in ("elapsed", "active"))


def _pipe_cycles(gpm: GpmReading) -> Values:
    return (((pipe,), gpm.cycles.get(pipe)) for pipe in PIPES)


def _monitored(values: Callable[[GpmReading], Values]) -> Callable[[GpuReading], Values]:
    return lambda reading: () if reading.gpm is None else values(reading.gpm)


FAMILIES: tuple[Family[Snapshot], ...] = (
    of_reading(
        "perwatt_gpu_sm_active_ratio",
        "Share of the SMs that were busy, as a mean since the reading before, 0 to 1.",
        _monitored(sm_active),
    ),
    of_reading(
        "perwatt_gpu_sm_occupancy_ratio",
        "Active warps as a share of all there could be, as a mean since the reading before, 0 to 1.",
        _monitored(sm_occupancy),
    ),
    of_reading(
        "perwatt_gpu_pipe_active_ratio",
        "Share of time in which the SMs' tensor cores, or their FP64, FP32 or FP16 units, were at work, as a "
        "mean since the reading before, 0 to 1.",
        _monitored(each(PIPES)),
        ("pipe",),
        {"pipe": tuple(PIPES)},
    ),
    of_reading(
        "perwatt_gpu_dram_bandwidth_ratio",
        "Memory bandwidth in use as a share of all there is, as a mean since the reading before, 0 to 1.",
        _monitored(dram_bandwidth),
    ),
    of_reading(
        "perwatt_gpu_link_bytes_per_second",
        "Bytes a second over PCIe and over all NVLinks, as a mean since the reading before.",
        _monitored(_links),
        ("link", "direction"),
        {"link": ("pcie", "nvlink"), "direction": ("transmitted", "received")},
    ),
    of_reading(
        "perwatt_gpu_sm_cycles_total",
        "Cycles of the SMs that elapsed, and in which they were active; drivers since 595. The ratio of "
        "their increases is exact over any window.",
        _monitored(_sm_cycles),
        ("state",),
        {"state": ("elapsed", "active")},
    ),
    of_reading(
        "perwatt_gpu_pipe_cycles_total",
        "Cycles in which the SMs' tensor cores, or their FP64, FP32 or FP16 units, were at work; to be held "
        "against the elapsed cycles of the SMs. Drivers since 595.",
        _monitored(_pipe_cycles),
        ("pipe",),
        {"pipe": tuple(PIPES)},
    ),
)
