"""Families of the GPU's performance monitor (GPM); Hopper and newer."""

from collections.abc import Callable

from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import each, of_table, only, readings
from perwatt_exporter.page.family import Columns, Family, Rows

PIPES: dict[str, Callable[[GpmReading], float | None]] = {
    "tensor": lambda gpm: gpm.tensor_active_ratio,
    "fp64": lambda gpm: gpm.fp64_active_ratio,
    "fp32": lambda gpm: gpm.fp32_active_ratio,
    "fp16": lambda gpm: gpm.fp16_active_ratio,
}
LINKS: Columns[GpmReading] = (
    (("pcie", "transmitted"), lambda gpm: gpm.pcie_transmitted_bytes_per_second),
    (("pcie", "received"), lambda gpm: gpm.pcie_received_bytes_per_second),
    (("nvlink", "transmitted"), lambda gpm: gpm.nvlink_transmitted_bytes_per_second),
    (("nvlink", "received"), lambda gpm: gpm.nvlink_received_bytes_per_second),
)
SM_ACTIVE: Columns[GpmReading] = only(lambda gpm: gpm.sm_active_ratio)
SM_OCCUPANCY: Columns[GpmReading] = only(lambda gpm: gpm.sm_occupancy_ratio)
DRAM_BANDWIDTH: Columns[GpmReading] = only(lambda gpm: gpm.dram_bandwidth_ratio)


def _monitored(snapshot: Snapshot) -> Rows[GpmReading]:
    return [(row, reading.gpm) for row, reading in readings(snapshot) if reading.gpm is not None]


def _cycles(*counters: str) -> Columns[GpmReading]:
    def of(counter: str) -> Callable[[GpmReading], float | None]:
        return lambda gpm: gpm.cycles.get(counter)

    return each({counter: of(counter) for counter in counters})


FAMILIES: tuple[Family[Snapshot], ...] = (
    of_table(
        _monitored,
        "perwatt_gpu_sm_active_ratio",
        "Share of the SMs that were busy, 0 to 1, averaged over 5 s or one collection cycle.",
        SM_ACTIVE,
    ),
    of_table(
        _monitored,
        "perwatt_gpu_sm_occupancy_ratio",
        "Active warps as a share of the maximum, 0 to 1, averaged over 5 s or one collection cycle.",
        SM_OCCUPANCY,
    ),
    of_table(
        _monitored,
        "perwatt_gpu_pipe_active_ratio",
        "Share of time in which the SMs' tensor cores, or their FP64, FP32 or FP16 units, were active, 0 "
        "to 1, averaged over 5 s or one collection cycle.",
        each(PIPES),
        ("pipe",),
        {"pipe": tuple(PIPES)},
    ),
    of_table(
        _monitored,
        "perwatt_gpu_dram_bandwidth_ratio",
        "Memory bandwidth in use as a share of the maximum, 0 to 1, averaged over 5 s or one collection "
        "cycle.",
        DRAM_BANDWIDTH,
    ),
    of_table(
        _monitored,
        "perwatt_gpu_link_bytes_per_second",
        "Bytes per second over PCIe and over all NVLinks, averaged over 5 s or one collection cycle.",
        LINKS,
        ("link", "direction"),
        {"link": ("pcie", "nvlink"), "direction": ("transmitted", "received")},
    ),
    of_table(
        _monitored,
        "perwatt_gpu_sm_cycles_total",
        "Elapsed and active cycles of the SMs; drivers since 595. The ratio of their increases is exact "
        "over any window.",
        _cycles("elapsed", "active"),
        ("state",),
        {"state": ("elapsed", "active")},
    ),
    of_table(
        _monitored,
        "perwatt_gpu_pipe_cycles_total",
        "Cycles in which the SMs' tensor cores, or their FP64, FP32 or FP16 units, were active; divide by "
        "the elapsed cycles of the SMs. Drivers since 595.",
        _cycles(*PIPES),
        ("pipe",),
        {"pipe": tuple(PIPES)},
    ),
)
