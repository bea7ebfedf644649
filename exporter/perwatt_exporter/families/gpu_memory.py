"""Families of GPU memory beyond its use: bandwidth utilization, BAR1 window, memory of the host system."""

from perwatt_agent.facts.snapshot import Snapshot
from perwatt_exporter.families.gpu_rows import of_reading, of_slow_reading, only
from perwatt_exporter.page.family import Family

FAMILIES: tuple[Family[Snapshot], ...] = (
    of_reading(
        "perwatt_gpu_memory_utilization_ratio",
        "Share of the driver's latest sample period in which memory was read or written, 0 to 1.",
        only(lambda reading: reading.memory_utilization_ratio),
    ),
    of_slow_reading(
        "perwatt_gpu_bar1_used_bytes",
        "Mapped bytes of the BAR1 window, through which the host and other devices access GPU memory.",
        only(lambda slow: slow.bar1_used_bytes),
    ),
    of_slow_reading(
        "perwatt_gpu_bar1_total_bytes",
        "Size in bytes of the BAR1 window, through which the host and other devices access GPU memory.",
        only(lambda slow: slow.bar1_total_bytes),
    ),
    of_slow_reading(
        "perwatt_gpu_os_memory_used_bytes",
        "GPU memory in use, in bytes, where the operating system manages it (Grace Hopper), as the kernel "
        "reports it; perwatt_gpu_memory_used_bytes is absent there.",
        only(lambda slow: slow.os_memory_used_bytes),
    ),
    of_slow_reading(
        "perwatt_gpu_os_memory_total_bytes",
        "GPU memory that the operating system manages (Grace Hopper), in bytes, as the kernel reports it.",
        only(lambda slow: slow.os_memory_total_bytes),
    ),
)
