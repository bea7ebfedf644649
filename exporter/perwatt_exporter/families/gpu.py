"""Families of each GPU: identity, state, power, utilization, memory, temperatures and clocks."""

from collections.abc import Callable, Iterator

from perwatt_agent.facts.gpu import GpuSnapshot
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import each, gpus, of_reading, of_slow_reading, of_table, only
from perwatt_exporter.families.unchanged import identities, states
from perwatt_exporter.page.family import Family, Sample


def _info(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in snapshot.gpus:
        info = gpu.info
        yield (
            (
                info.uuid,
                str(info.index),
                info.name,
                info.pci_bus_id,
                info.architecture,
                info.serial,
                info.vbios_version,
            ),
            1,
        )


def _up(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in snapshot.gpus:
        yield (gpu.info.uuid,), gpu.state == "ok"


# The memory clock hardly ever changes, so that some backends read it with the slow facts.
CLOCKS: dict[str, Callable[[GpuSnapshot], float | None]] = {
    "graphics": lambda gpu: gpu.reading.clock_graphics_hertz if gpu.reading else None,
    "sm": lambda gpu: gpu.reading.clock_sm_hertz if gpu.reading else None,
    "memory": lambda gpu: (
        (gpu.reading.clock_memory_hertz if gpu.reading else None)
        or (gpu.slow.clock_memory_hertz if gpu.slow else None)
    ),
}


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_gpu_info",
        "info",
        "Static facts of the GPU; `gpu` is its UUID, the label that joins all of its series. It stays "
        "while the GPU does not answer. A label is empty if the driver does not report it.",
        ("gpu", "index", "name", "pci_bus_id", "architecture", "serial", "vbios_version"),
        _info,
        basis=identities,
    ),
    Family(
        "perwatt_gpu_up",
        "gauge",
        "1 while the GPU answers, 0 while it does not; then its measured series are absent, never 0.",
        ("gpu",),
        _up,
        basis=states,
    ),
    of_reading(
        "perwatt_gpu_power_watts",
        "Board power of the GPU in watts: the driver's mean over one second where it has one, else the power "
        "at the instant of the reading. For energy use perwatt_gpu_energy_joules_total.",
        only(lambda reading: reading.power_watts),
    ),
    of_slow_reading(
        "perwatt_gpu_power_limit_watts",
        "The power limit in force, in watts.",
        only(lambda slow: slow.power_limit_watts),
    ),
    of_slow_reading(
        "perwatt_gpu_power_limit_default_watts",
        "The power limit that the board has without any setting, in watts.",
        only(lambda slow: slow.power_limit_default_watts),
    ),
    of_slow_reading(
        "perwatt_gpu_power_limit_min_watts",
        "The lowest power limit that may be set, in watts.",
        only(lambda slow: slow.power_limit_min_watts),
    ),
    of_slow_reading(
        "perwatt_gpu_power_limit_max_watts",
        "The highest power limit that may be set, in watts.",
        only(lambda slow: slow.power_limit_max_watts),
    ),
    of_table(
        gpus,
        "perwatt_gpu_idle_power_watts",
        "Power of the GPU in watts while nobody uses it: as configured, or else the median that was "
        "measured while no process was on it. Absent until it is known. Workloads on one GPU share it "
        "equally.",
        only(lambda gpu: gpu.idle_power_watts),
    ),
    of_reading(
        "perwatt_gpu_utilization_ratio",
        "Share of the driver's latest sample period in which at least one kernel ran, 0 to 1. It shows "
        "that the GPU was in use, not how much of it.",
        only(lambda reading: reading.utilization_ratio),
    ),
    of_reading(
        "perwatt_gpu_memory_used_bytes",
        "Device memory that is allocated, in bytes, without what the driver reserves for itself.",
        only(lambda reading: reading.memory_used_bytes),
    ),
    of_reading(
        "perwatt_gpu_memory_reserved_bytes",
        "Device memory that the driver and firmware reserve for themselves, in bytes.",
        only(lambda reading: reading.memory_reserved_bytes),
    ),
    of_reading(
        "perwatt_gpu_memory_total_bytes",
        "Device memory of the GPU, in bytes.",
        only(lambda reading: reading.memory_total_bytes),
    ),
    of_reading(
        "perwatt_gpu_temperature_celsius",
        "Temperature in degrees Celsius, by sensor; a sensor that the GPU does not have is absent.",
        each(
            {
                "core": lambda reading: reading.temperature_core_celsius,
                "memory": lambda reading: reading.temperature_memory_celsius,
            }
        ),
        ("sensor",),
        {"sensor": ("core", "memory")},
    ),
    of_table(
        gpus,
        "perwatt_gpu_clock_hertz",
        "Current frequency in hertz, by clock.",
        each(CLOCKS),
        ("clock",),
        {"clock": tuple(CLOCKS)},
    ),
)
