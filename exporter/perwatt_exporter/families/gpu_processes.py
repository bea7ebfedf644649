"""Families of the processes that hold most of a GPU's memory, where `gpu.processes` asks for them."""

from collections.abc import Callable

from perwatt_agent.facts.gpu_process import ProcessUse
from perwatt_agent.facts.gpu_reading import GpuSlowReading
from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import Values, of_slow_reading
from perwatt_exporter.page.family import Family

OTHER = "other"


def _each(value: Callable[[ProcessUse], float | None]) -> Callable[[GpuSlowReading], Values]:
    def values(slow: GpuSlowReading) -> Values:
        for use in slow.top_processes or ():
            yield (OTHER if use.pid is None else str(use.pid),), value(use)

    return values


FAMILIES: tuple[Family[Snapshot], ...] = (
    of_slow_reading(
        "perwatt_gpu_process_memory_bytes",
        "Device memory in bytes of each of the largest processes, by process id as the agent sees it; "
        "pid=other is the sum of all others.",
        _each(lambda use: use.memory_bytes),
        ("pid",),
    ),
    of_slow_reading(
        "perwatt_gpu_process_sm_ratio",
        "Share of the SMs' time that each of these processes used since the previous reading, 0 to 1.",
        _each(lambda use: use.sm_ratio),
        ("pid",),
    ),
)
