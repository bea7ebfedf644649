"""Families of the host around the GPUs: energy and utilization of its processors and memory."""

from collections.abc import Callable, Iterator

from perwatt_agent.facts.host import HostReading
from perwatt_agent.facts.host_meter import MeterRole
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.page.family import Family, Sample


def _part_energy(name: str, help_text: str, role: MeterRole) -> Family[Snapshot]:
    """The energy of each processor, or of each one's memory."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for meter in snapshot.meters:
            if meter.role == role and meter.energy_joules is not None:
                yield (meter.zone,), meter.energy_joules

    return Family(name, "counter", help_text, ("package",), read)


def _load(name: str, help_text: str, value: Callable[[HostReading], float | None]) -> Family[Snapshot]:
    """How busy or how full the host is."""

    def read(snapshot: Snapshot) -> Iterator[Sample]:
        if snapshot.host is not None and (amount := value(snapshot.host)) is not None:
            yield (), amount

    return Family(name, "gauge", help_text, (), read)


FAMILIES: tuple[Family[Snapshot], ...] = (
    _part_energy(
        "perwatt_host_cpu_energy_joules_total",
        "Energy of each processor in joules, by its own counter (RAPL) or, on NVIDIA Grace, from its "
        "power. Counters that wrap are corrected. Boundary: the package; with RAPL, without memory.",
        "package",
    ),
    _part_energy(
        "perwatt_host_dram_energy_joules_total",
        "Energy in joules of the memory of each processor, by RAPL. Absent if RAPL does not report it.",
        "dram",
    ),
    _load(
        "perwatt_host_cpu_utilization_ratio",
        "Utilization of all of the host's processors together since the previous snapshot, 0 to 1.",
        lambda host: host.cpu_utilization_ratio,
    ),
    _load(
        "perwatt_host_memory_used_bytes",
        "Memory of the host that is not available without swapping, in bytes.",
        lambda host: host.memory_used_bytes,
    ),
    _load(
        "perwatt_host_memory_total_bytes",
        "Memory of the host, in bytes.",
        lambda host: host.memory_total_bytes,
    ),
)
