"""MIG instances. Power and energy belong to the whole board, and are never shown of an instance."""

from collections.abc import Callable, Iterator

from perwatt_agent.gpufacts import GpmReading, MigReading
from perwatt_agent.snapshot import Snapshot
from perwatt_exporter.families.bases import slow_readings
from perwatt_exporter.families.gpu_gpm import PIPES, dram_bandwidth, sm_active, sm_occupancy
from perwatt_exporter.families.of_gpu import Values, each, healthy, only
from perwatt_exporter.family import Family, Sample


def _info(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in healthy(snapshot):
        for mig in (gpu.slow.mig if gpu.slow else None) or ():
            numbers = (str(mig.gpu_instance), str(mig.compute_instance))
            yield (gpu.info.uuid, mig.uuid, *numbers, mig.profile), 1


def _family(
    name: str,
    help_text: str,
    values: Callable[[MigReading], Values],
    label: str = "",
    closed: tuple[str, ...] = (),
) -> Family[Snapshot]:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for gpu in healthy(snapshot):
            for mig in (gpu.slow.mig if gpu.slow else None) or ():
                for labels, amount in values(mig):
                    if amount is not None:
                        yield (gpu.info.uuid, mig.uuid, *labels), amount

    labels = ("gpu", "mig", label) if label else ("gpu", "mig")
    return Family(
        name, "gauge", help_text, labels, read, {label: closed} if label else {}, basis=slow_readings
    )


def _monitored(values: Callable[[GpmReading], Values]) -> Callable[[MigReading], Values]:
    return lambda mig: () if mig.gpm is None else values(mig.gpm)


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_mig_info",
        "info",
        "A MIG instance of a GPU by its UUID: the numbers of its GPU instance and compute instance, and the "
        "profile that it was made from.",
        ("gpu", "mig", "gpu_instance", "compute_instance", "profile"),
        _info,
        basis=slow_readings,
    ),
    _family(
        "perwatt_mig_slices",
        "Slices of the GPU that the instance's GPU instance and compute instance have.",
        each({"gpu": lambda mig: mig.gpu_slices, "compute": lambda mig: mig.compute_slices}),
        "kind",
        ("gpu", "compute"),
    ),
    _family(
        "perwatt_mig_multiprocessors",
        "SMs that the instance has.",
        only(lambda mig: mig.multiprocessors),
    ),
    _family(
        "perwatt_mig_memory_used_bytes",
        "Device memory that is allocated in the instance, in bytes, without what is reserved.",
        only(lambda mig: mig.memory_used_bytes),
    ),
    _family(
        "perwatt_mig_memory_reserved_bytes",
        "Device memory of the instance that driver and firmware reserve for themselves, in bytes.",
        only(lambda mig: mig.memory_reserved_bytes),
    ),
    _family(
        "perwatt_mig_memory_total_bytes",
        "Device memory of the instance, in bytes.",
        only(lambda mig: mig.memory_total_bytes),
    ),
    _family(
        "perwatt_mig_sm_active_ratio",
        "Share of the SMs that were busy, as a mean since the reading before (10-15 s), 0 to 1; of the whole "
        "GPU instance, which other compute instances may share.",
        _monitored(sm_active),
    ),
    _family(
        "perwatt_mig_sm_occupancy_ratio",
        "Active warps as a share of all there could be, measured as perwatt_mig_sm_active_ratio is.",
        _monitored(sm_occupancy),
    ),
    _family(
        "perwatt_mig_pipe_active_ratio",
        "Share of time in which tensor cores, or FP64, FP32 or FP16 units, were at work, measured as "
        "perwatt_mig_sm_active_ratio is.",
        _monitored(each(PIPES)),
        "pipe",
        tuple(PIPES),
    ),
    _family(
        "perwatt_mig_dram_bandwidth_ratio",
        "Memory bandwidth in use as a share of all there is, measured as perwatt_mig_sm_active_ratio is.",
        _monitored(dram_bandwidth),
    ),
)
