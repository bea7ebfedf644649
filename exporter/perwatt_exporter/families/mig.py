"""Families of MIG instances. Power and energy belong to the whole board: an instance has none."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from perwatt_agent.facts.gpm import GpmReading
from perwatt_agent.facts.mig import MigReading
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_gpm import DRAM_BANDWIDTH, PIPES, SM_ACTIVE, SM_OCCUPANCY
from perwatt_exporter.families.gpu_rows import each, healthy, only
from perwatt_exporter.families.unchanged import slow_readings
from perwatt_exporter.page.family import Columns, Family, Rows, Sample, Table

T = TypeVar("T")


def _instances(snapshot: Snapshot) -> Rows[MigReading]:
    return [
        ((gpu.info.uuid, mig.uuid), mig)
        for gpu in healthy(snapshot)
        for mig in (gpu.slow.mig if gpu.slow else None) or ()
    ]


def _monitored(snapshot: Snapshot) -> Rows[GpmReading]:
    return [(row, mig.gpm) for row, mig in _instances(snapshot) if mig.gpm is not None]


def _info(snapshot: Snapshot) -> Iterator[Sample]:
    for row, mig in _instances(snapshot):
        yield (*row, str(mig.gpu_instance), str(mig.compute_instance), mig.profile), 1


def _family(
    rows: Callable[[Snapshot], Rows[T]],
    name: str,
    help_text: str,
    columns: Columns[T],
    label: str = "",
    closed: tuple[str, ...] = (),
) -> Family[Snapshot]:
    labels = ("gpu", "mig", label) if label else ("gpu", "mig")
    table = Table(rows, columns)
    return Family(
        name, "gauge", help_text, labels, table, {label: closed} if label else {}, basis=slow_readings
    )


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_mig_info",
        "info",
        "Static facts of a MIG instance: its UUID, the numbers of its GPU instance and compute instance, "
        "and its profile.",
        ("gpu", "mig", "gpu_instance", "compute_instance", "profile"),
        _info,
        basis=slow_readings,
    ),
    _family(
        _instances,
        "perwatt_mig_slices",
        "Slices of the GPU that the instance's GPU instance and compute instance have.",
        each({"gpu": lambda mig: mig.gpu_slices, "compute": lambda mig: mig.compute_slices}),
        "kind",
        ("gpu", "compute"),
    ),
    _family(
        _instances,
        "perwatt_mig_multiprocessors",
        "SMs that the instance has.",
        only(lambda mig: mig.multiprocessors),
    ),
    _family(
        _instances,
        "perwatt_mig_memory_used_bytes",
        "Device memory that is allocated in the instance, in bytes, without what is reserved.",
        only(lambda mig: mig.memory_used_bytes),
    ),
    _family(
        _instances,
        "perwatt_mig_memory_reserved_bytes",
        "Device memory of the instance that driver and firmware reserve for themselves, in bytes.",
        only(lambda mig: mig.memory_reserved_bytes),
    ),
    _family(
        _instances,
        "perwatt_mig_memory_total_bytes",
        "Device memory of the instance, in bytes.",
        only(lambda mig: mig.memory_total_bytes),
    ),
    _family(
        _monitored,
        "perwatt_mig_sm_active_ratio",
        "Share of the SMs that were busy since the previous reading (10-15 s), 0 to 1. It describes the "
        "whole GPU instance, which other compute instances may share.",
        SM_ACTIVE,
    ),
    _family(
        _monitored,
        "perwatt_mig_sm_occupancy_ratio",
        "Active warps as a share of the maximum, measured like perwatt_mig_sm_active_ratio.",
        SM_OCCUPANCY,
    ),
    _family(
        _monitored,
        "perwatt_mig_pipe_active_ratio",
        "Share of time in which tensor cores, or FP64, FP32 or FP16 units, were active, measured like "
        "perwatt_mig_sm_active_ratio.",
        each(PIPES),
        "pipe",
        tuple(PIPES),
    ),
    _family(
        _monitored,
        "perwatt_mig_dram_bandwidth_ratio",
        "Memory bandwidth in use as a share of the maximum, measured like perwatt_mig_sm_active_ratio.",
        DRAM_BANDWIDTH,
    ),
)
