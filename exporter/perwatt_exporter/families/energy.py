"""The energy of each GPU board, the time it covers, how well two ways of measuring agree, and the rest."""

from collections.abc import Callable, Iterator
from typing import get_args

from perwatt_agent.snapshot import EnergySource, GpuEnergy, Snapshot
from perwatt_exporter.families.of_gpu import healthy
from perwatt_exporter.family import Family, Kind, Sample


def _energy_joules(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in healthy(snapshot):
        if gpu.energy is not None:
            yield (gpu.info.uuid, gpu.energy.source), gpu.energy.joules


def _account(
    name: str, kind: Kind, help_text: str, value: Callable[[GpuEnergy], float | None]
) -> Family[Snapshot]:
    """A fact from the GPU's energy account."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for gpu in healthy(snapshot):
            if gpu.energy is not None and (amount := value(gpu.energy)) is not None:
                yield (gpu.info.uuid,), amount

    return Family(name, kind, help_text, ("gpu",), read)


def _calibration(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in healthy(snapshot):
        if gpu.calibration_ratio is not None:
            yield (gpu.info.uuid,), gpu.calibration_ratio


def _unattributed(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in healthy(snapshot):
        if gpu.unallocated_joules is not None:
            yield (gpu.info.uuid, "unallocated"), gpu.unallocated_joules
        if gpu.unknown_joules is not None:
            yield (gpu.info.uuid, "unknown"), gpu.unknown_joules


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_gpu_energy_joules_total",
        "counter",
        "Energy of the GPU board in joules: the primary metric. source=counter is the driver's own reading, "
        "unaltered; integrated is summed from power readings; module is the module that carries the GPU; "
        "simulated is not measured at all. Boundary: the board, without host, fans and power supply.",
        ("gpu", "source"),
        _energy_joules,
        {"source": get_args(EnergySource)},
    ),
    _account(
        "perwatt_gpu_energy_covered_seconds_total",
        "counter",
        "Seconds of time that the GPU's energy covers. Coverage of a window is its increase divided by the "
        "window's length.",
        lambda energy: energy.covered_seconds,
    ),
    _account(
        "perwatt_gpu_busy_seconds_total",
        "counter",
        "Seconds in which at least one kernel ran: the integral of utilization. Absent where the GPU does "
        "not tell its utilization.",
        lambda energy: energy.busy_seconds,
    ),
    _account(
        "perwatt_gpu_energy_divergence_ratio",
        "gauge",
        "(counter - integrated) / integrated over the long run; 0 is agreement. Absent until both have "
        "run long enough to be compared.",
        lambda energy: energy.divergence_ratio,
    ),
    Family(
        "perwatt_gpu_energy_calibration_ratio",
        "gauge",
        "By what to multiply this GPU's joules for what an outside reference measured. Configured, and never "
        "applied to the counter itself; absent where there is none.",
        ("gpu",),
        _calibration,
    ),
    Family(
        "perwatt_gpu_unattributed_energy_joules_total",
        "counter",
        "Board energy in joules that no workload was given: unallocated while none held the GPU, unknown "
        "when nobody could say whose it was. Together with the workloads' energy, and what waits for the "
        "next token reading, it is the board's.",
        ("gpu", "cause"),
        _unattributed,
        {"cause": ("unallocated", "unknown")},
    ),
)
