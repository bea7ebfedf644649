"""Families of board energy: joules, covered time, agreement of two ways of measuring, unattributed rest."""

from collections.abc import Iterator
from typing import get_args

from perwatt_agent.facts.gpu import GpuEnergy
from perwatt_agent.facts.gpu_reading import EnergySource
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import each, gpus, healthy, of_table, only
from perwatt_exporter.page.family import Family, Rows, Sample


def _energy_joules(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in healthy(snapshot):
        if gpu.energy is not None:
            yield (gpu.info.uuid, gpu.energy.source), gpu.energy.joules


def _accounts(snapshot: Snapshot) -> Rows[GpuEnergy]:
    return [((gpu.info.uuid,), gpu.energy) for gpu in healthy(snapshot) if gpu.energy is not None]


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
    of_table(
        _accounts,
        "perwatt_gpu_energy_covered_seconds_total",
        "Seconds of time that the GPU's energy covers. Coverage of a window is its increase divided by the "
        "window's length.",
        only(lambda energy: energy.covered_seconds),
    ),
    of_table(
        _accounts,
        "perwatt_gpu_busy_seconds_total",
        "Seconds in which at least one kernel ran: the integral of utilization. Absent if the GPU does "
        "not report its utilization.",
        only(lambda energy: energy.busy_seconds),
    ),
    of_table(
        _accounts,
        "perwatt_gpu_energy_divergence_ratio",
        "(counter - integrated) / integrated over a long time; 0 means that they agree. Absent until both "
        "have run long enough to be compared.",
        only(lambda energy: energy.divergence_ratio),
    ),
    of_table(
        gpus,
        "perwatt_gpu_energy_calibration_ratio",
        "Factor for this GPU's joules from a comparison with an outside reference. It is configured, and "
        "never applied to the counter itself; absent if there is none.",
        only(lambda gpu: gpu.calibration_ratio),
    ),
    of_table(
        gpus,
        "perwatt_gpu_unattributed_energy_joules_total",
        "Board energy in joules of no workload: unallocated while no workload held the GPU, unknown if "
        "its holder could not be identified. With the workloads' energy, and the energy that waits for "
        "the next token reading, it adds up to the board's.",
        each(
            {
                "unallocated": lambda gpu: gpu.unallocated_joules,
                "unknown": lambda gpu: gpu.unknown_joules,
            }
        ),
        ("cause",),
        {"cause": ("unallocated", "unknown")},
    ),
)
