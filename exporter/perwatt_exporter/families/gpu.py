"""Each GPU: who it is, whether it answers, and its power, load, memory, temperatures and clocks now."""

from collections.abc import Callable, Iterator

from perwatt_agent.snapshot import GpuReading, GpuSlowReading, GpuSnapshot, Snapshot
from perwatt_exporter.family import Family, Sample


def healthy(snapshot: Snapshot) -> Iterator[GpuSnapshot]:
    """The GPUs whose readings may be shown: of any other GPU only identity and `up` stay."""
    return (gpu for gpu in snapshot.gpus if gpu.state == "ok")


def identities(snapshot: Snapshot) -> tuple[object, ...]:
    """What is said of GPUs once a driver generation."""
    return tuple(gpu.info for gpu in snapshot.gpus)


def slow_readings(snapshot: Snapshot) -> tuple[object, ...]:
    """What is read of GPUs every 10-15 s; None while one does not answer."""
    return (*identities(snapshot), *(gpu.slow if gpu.state == "ok" else None for gpu in snapshot.gpus))


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


def _reading(name: str, help_text: str, value: Callable[[GpuReading], float | None]) -> Family[Snapshot]:
    """A gauge from the reading that is made every sweep."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for gpu in healthy(snapshot):
            if gpu.reading is not None and (amount := value(gpu.reading)) is not None:
                yield (gpu.info.uuid,), amount

    return Family(name, "gauge", help_text, ("gpu",), read)


def _slow_reading(
    name: str, help_text: str, value: Callable[[GpuSlowReading], float | None]
) -> Family[Snapshot]:
    """A gauge from the reading that is made every 10-15 s."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for gpu in healthy(snapshot):
            if gpu.slow is not None and (amount := value(gpu.slow)) is not None:
                yield (gpu.info.uuid,), amount

    return Family(name, "gauge", help_text, ("gpu",), read, basis=slow_readings)


def _idle_power(snapshot: Snapshot) -> Iterator[Sample]:
    for gpu in healthy(snapshot):
        if gpu.idle_power_watts is not None:
            yield (gpu.info.uuid,), gpu.idle_power_watts


def _places(
    name: str, help_text: str, label: str, places: dict[str, Callable[[GpuReading], float | None]]
) -> Family[Snapshot]:
    """A gauge that one GPU has in several places, told apart by `label`."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for gpu in healthy(snapshot):
            if gpu.reading is None:
                continue
            for place, value in places.items():
                if (amount := value(gpu.reading)) is not None:
                    yield (gpu.info.uuid, place), amount

    return Family(name, "gauge", help_text, ("gpu", label), read, {label: tuple(places)})


FAMILIES: tuple[Family[Snapshot], ...] = (
    Family(
        "perwatt_gpu_info",
        "info",
        "What the GPU is; `gpu` is its UUID, by which all other series are joined. Stays while the GPU does "
        "not answer. What the driver does not tell is empty.",
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
    ),
    _reading(
        "perwatt_gpu_power_watts",
        "Board power of the GPU in watts: the driver's mean over one second where it has one, else the power "
        "at the instant of the reading. For energy use perwatt_gpu_energy_joules_total.",
        lambda reading: reading.power_watts,
    ),
    _slow_reading(
        "perwatt_gpu_power_limit_watts",
        "The power limit in force, in watts.",
        lambda slow: slow.power_limit_watts,
    ),
    _slow_reading(
        "perwatt_gpu_power_limit_default_watts",
        "The power limit that the board has without any setting, in watts.",
        lambda slow: slow.power_limit_default_watts,
    ),
    _slow_reading(
        "perwatt_gpu_power_limit_min_watts",
        "The lowest power limit that may be set, in watts.",
        lambda slow: slow.power_limit_min_watts,
    ),
    _slow_reading(
        "perwatt_gpu_power_limit_max_watts",
        "The highest power limit that may be set, in watts.",
        lambda slow: slow.power_limit_max_watts,
    ),
    Family(
        "perwatt_gpu_idle_power_watts",
        "gauge",
        "What the GPU draws while nobody uses it, in watts: as configured, else the median that was measured "
        "while no process was on it. Absent until it is known. Those who share the GPU bear it equally.",
        ("gpu",),
        _idle_power,
    ),
    _reading(
        "perwatt_gpu_utilization_ratio",
        "Share of the driver's latest sample period in which at least one kernel ran, 0 to 1. It says that "
        "the GPU was in use, not how much of it.",
        lambda reading: reading.utilization_ratio,
    ),
    _reading(
        "perwatt_gpu_memory_used_bytes",
        "Device memory that is allocated, in bytes, without what the driver reserves for itself.",
        lambda reading: reading.memory_used_bytes,
    ),
    _reading(
        "perwatt_gpu_memory_reserved_bytes",
        "Device memory that the driver and firmware reserve for themselves, in bytes.",
        lambda reading: reading.memory_reserved_bytes,
    ),
    _reading(
        "perwatt_gpu_memory_total_bytes",
        "Device memory of the GPU, in bytes.",
        lambda reading: reading.memory_total_bytes,
    ),
    _places(
        "perwatt_gpu_temperature_celsius",
        "Temperature in degrees Celsius, by sensor; a sensor that the GPU does not have is absent.",
        "sensor",
        {
            "core": lambda reading: reading.temperature_core_celsius,
            "memory": lambda reading: reading.temperature_memory_celsius,
        },
    ),
    _places(
        "perwatt_gpu_clock_hertz",
        "Current frequency in hertz, by clock.",
        "clock",
        {
            "graphics": lambda reading: reading.clock_graphics_hertz,
            "sm": lambda reading: reading.clock_sm_hertz,
            "memory": lambda reading: reading.clock_memory_hertz,
        },
    ),
)
