"""Readings of a simulated GPU in depth, as an agent has them with `gpu.detail: full`."""

from collections.abc import Iterator

from msgspec.structs import replace

from perwatt.simulate.catalog import BOARD, GIB
from perwatt_agent.facts.ecc import EccCount
from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading

MEBIBYTE = 1024**2
SM_CYCLES_PER_SECOND = 132 * 1.98e9
TENSOR_SHARE = 0.42
"""Of the cycles in which a serving engine has a request, those in which tensor cores are at work."""
_ACTIVE_SHARE = 0.78
_PCIE_BYTES_PER_SECOND = 1.2e9
_NVLINK_BYTES_PER_SECOND = 60e9


def deep_numbers(busy: float, busy_seconds: float, uptime: float) -> list[float]:
    """
    The numbers that `deep_reading` takes: of a GPU that was busy for so many seconds of its time, and is now
    busy for this share of it.
    """
    sm_active, tensor = _ACTIVE_SHARE * busy, TENSOR_SHARE * busy
    return [
        round(0.55 * busy, 2),
        round(0.02 * busy_seconds, 3),
        float(int(_PCIE_BYTES_PER_SECOND * busy_seconds)),
        float(int(0.6 * _PCIE_BYTES_PER_SECOND * busy_seconds)),
        float(int(_NVLINK_BYTES_PER_SECOND * busy_seconds)),
        round(sm_active, 4),
        round(tensor, 4),
        float(int(SM_CYCLES_PER_SECOND * uptime)),
        float(int(SM_CYCLES_PER_SECOND * _ACTIVE_SHARE * busy_seconds)),
        float(int(SM_CYCLES_PER_SECOND * TENSOR_SHARE * busy_seconds)),
    ]


def deep_reading(reading: GpuReading, taken: Iterator[float]) -> GpuReading:
    """A reading with all that the agent reads each second."""
    memory, capped, sent, received, link, sm_active, tensor, elapsed, active, at_tensor = (
        next(taken) for _ in range(10)
    )
    monitor = GpmReading(
        0.0,
        5.0,
        sm_active_ratio=sm_active,
        sm_occupancy_ratio=sm_active,
        tensor_active_ratio=tensor,
        fp64_active_ratio=0.0,
        fp32_active_ratio=sm_active,
        fp16_active_ratio=0.0,
        dram_bandwidth_ratio=memory,
        cycles={"elapsed": elapsed, "active": active, "tensor": at_tensor},
    )
    return replace(
        reading,
        memory_utilization_ratio=memory,
        throttled_seconds={"sw_power_cap": capped, "thermal": 0.0, "hw_power_brake": 0.0},
        pcie_transmitted_bytes=sent,
        pcie_received_bytes=received,
        pcie_replays=0.0,
        nvlink_transmitted_bytes=link,
        nvlink_received_bytes=link,
        gpm=monitor,
    )


DEEP_SLOW = GpuSlowReading(
    0.0,
    power_limit_watts=BOARD.limit_watts,
    power_limit_default_watts=BOARD.limit_watts,
    power_limit_min_watts=BOARD.limit_min_watts,
    power_limit_max_watts=BOARD.limit_watts,
    clock_memory_hertz=BOARD.clock_memory_hertz,
    clock_sm_max_hertz=BOARD.clock_busy_hertz,
    clock_memory_max_hertz=BOARD.clock_memory_hertz,
    performance_state=0,
    throttle_reasons=(),
    temperature_margin_celsius=28.0,
    temperature_margins_celsius={"shutdown": -8.0, "slowdown": -2.0, "memory_max": 0.0, "gpu_max": 0.0},
    encoder_ratio=0.0,
    decoder_ratio=0.0,
    pcie_generation=5,
    pcie_generation_max=5,
    pcie_width=16,
    pcie_width_max=16,
    nvlink_errors={"crc_flit": 0.0, "crc_data": 0.0, "replay": 0.0, "recovery": 0.0},
    fabric_state="completed",
    fabric_health="healthy",
    bar1_used_bytes=2 * MEBIBYTE,
    bar1_total_bytes=128 * GIB,
    ecc_enabled=True,
    ecc_errors=(
        EccCount("volatile", "corrected", "all", 0),
        EccCount("volatile", "uncorrected", "all", 0),
        EccCount("aggregate", "corrected", "all", 0),
        EccCount("aggregate", "uncorrected", "all", 0),
    ),
    remapped_rows_corrected=0,
    remapped_rows_uncorrected=0,
    remapped_rows_pending=False,
    remapped_rows_failed=False,
    recovery_action="none",
    compute_mode="default",
    persistence=True,
    virtualization_mode="none",
)
