"""Sample snapshots of GPUs in depth: all that a Hopper board tells, one in parts, an old one with little."""

from msgspec.structs import replace

from perwatt_agent.facts.ecc import EccCount, SramErrors
from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.gpu_process import ProcessUse
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.facts.snapshot import Snapshot
from support.exposition.pages import (
    MIB,
    MONOTONIC_SECONDS,
    SLOW,
    gpu_info,
    healthy_gpu,
    node,
    reading,
    workload,
)

GPM = GpmReading(
    MONOTONIC_SECONDS,
    1.0,
    sm_active_ratio=0.875,
    sm_occupancy_ratio=0.5,
    tensor_active_ratio=0.625,
    fp64_active_ratio=0.0,
    fp32_active_ratio=0.125,
    fp16_active_ratio=0.0625,
    dram_bandwidth_ratio=0.75,
    pcie_transmitted_bytes_per_second=1.5e9,
    pcie_received_bytes_per_second=2.5e9,
    nvlink_transmitted_bytes_per_second=150e9,
    nvlink_received_bytes_per_second=250e9,
    cycles={"elapsed": 2e12, "active": 1.5e12, "tensor": 1e12, "fp64": 0, "fp32": 2e11, "fp16": 1e11},
)
DEEP = replace(
    reading(0),
    clock_memory_hertz=None,
    memory_utilization_ratio=0.5,
    throttled_seconds={"sw_power_cap": 1234.5, "thermal": 0.0, "hw_power_brake": 2.25},
    pcie_transmitted_bytes=123_456_789,
    pcie_received_bytes=987_654_321,
    pcie_replays=3,
    nvlink_transmitted_bytes=1 << 45,
    nvlink_received_bytes=1 << 46,
    gpm=GPM,
)
DEEP_SLOW = replace(
    SLOW,
    clock_memory_hertz=2_619e6,
    clock_sm_max_hertz=1_980e6,
    clock_memory_max_hertz=2_619e6,
    performance_state=0,
    throttle_reasons=("sw_power_cap",),
    temperature_margin_celsius=-1.0,
    temperature_margins_celsius={"shutdown": -8.0, "slowdown": -2.0, "memory_max": 0.0, "gpu_max": 0.0},
    fan_ratios=(0.4, 0.45),
    encoder_ratio=0.0,
    decoder_ratio=0.25,
    pcie_generation=5,
    pcie_generation_max=5,
    pcie_width=8,
    pcie_width_max=16,
    nvlink_errors={"crc_flit": 0, "crc_data": 0, "replay": 2, "recovery": 1},
    fabric_state="completed",
    fabric_health="healthy",
    bar1_used_bytes=5 * MIB,
    bar1_total_bytes=131_072 * MIB,
    os_memory_used_bytes=7 * MIB,
    os_memory_total_bytes=98_304 * MIB,
    ecc_enabled=True,
    ecc_errors=(
        EccCount("volatile", "corrected", "all", 3),
        EccCount("volatile", "uncorrected", "all", 0),
        EccCount("aggregate", "corrected", "device_memory", 17),
    ),
    remapped_rows_corrected=1,
    remapped_rows_uncorrected=0,
    remapped_rows_pending=True,
    remapped_rows_failed=False,
    remap_banks={"max": 2558, "high": 1, "partial": 0, "low": 0, "none": 1},
    sram_errors=SramErrors(4, 0, 1, 9, 2, 1, {"l2": 2, "sm": 1, "other": 0}, threshold_exceeded=False),
    recovery_action="drain_and_reset",
    compute_mode="exclusive_process",
    persistence=True,
    virtualization_mode="host_vgpu",
    active_vgpus=3,
    top_processes=(ProcessUse(4711, 40_960 * MIB, 0.75), ProcessUse(None, 1_024 * MIB, 0.125)),
)
SLICE = MigReading(
    uuid="MIG-00000000-0000-5000-8000-000000000007",
    gpu_instance=7,
    compute_instance=0,
    profile="1g.10gb",
    gpu_slices=1,
    compute_slices=1,
    multiprocessors=16,
    memory_used_bytes=2_048 * MIB,
    memory_reserved_bytes=16 * MIB,
    memory_total_bytes=9_984 * MIB,
    gpm=replace(GPM, window_seconds=10.0),
)
NEW_SLICE = MigReading("MIG-00000000-0000-5000-8000-000000000009", 9, 1, profile="2g.20gb")


def hopper_in_depth() -> Snapshot:
    return node((replace(healthy_gpu(0), reading=DEEP, slow=DEEP_SLOW),))


def hopper_with_mig() -> Snapshot:
    """A GPU in parts, of which one tells little, beside one that has no part and one that is lost."""
    whole = replace(reading(0), utilization_ratio=None)
    divided = replace(healthy_gpu(0), reading=whole, slow=replace(SLOW, mig=(SLICE, NEW_SLICE)))
    empty = replace(healthy_gpu(1), slow=replace(SLOW, mig=()))
    return node((divided, empty, GpuSnapshot(gpu_info(2), "lost", slow=replace(SLOW, mig=(SLICE,)))))


def mig_with_two_workloads() -> Snapshot:
    """A GPU in parts that two workloads hold by instance: the joules of both name the GPU, and it alone."""
    large = replace(SLICE, uuid=SLICE.uuid[:-1] + "8", gpu_instance=2, profile="3g.40gb", gpu_slices=3)
    slow = replace(SLOW, mig=(replace(large, compute_slices=3, multiprocessors=60), SLICE), mig_slices=7)
    gpu = replace(healthy_gpu(0), reading=replace(reading(0), utilization_ratio=None), slow=slow)
    holders = tuple(workload(name, (gpu,), "mig_activity") for name in ("chat", "code"))
    return node((gpu,), workloads=holders)


def volta_with_little() -> Snapshot:
    """A board that retires pages, has temperatures in place of margins, and no monitor."""
    slow = GpuSlowReading(
        MONOTONIC_SECONDS,
        temperature_thresholds_celsius={"shutdown": 90.0, "slowdown": 87.0},
        throttle_reasons=(),
        retired_pages_corrected=2,
        retired_pages_uncorrected=1,
        retired_pages_pending=False,
        pcie_generation=3,
        pcie_width=16,
    )
    facts = GpuReading(MONOTONIC_SECONDS, power_watts=250.0, throttled_seconds={"thermal": 0.5})
    return node((GpuSnapshot(gpu_info(0), "ok", facts, slow),))
