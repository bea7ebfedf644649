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
        "What is mapped of the window through which others reach the GPU's memory, in bytes.",
        only(lambda slow: slow.bar1_used_bytes),
    ),
    of_slow_reading(
        "perwatt_gpu_bar1_total_bytes",
        "The window through which others reach the GPU's memory, in bytes.",
        only(lambda slow: slow.bar1_total_bytes),
    ),
    of_slow_reading(
        "perwatt_gpu_os_memory_used_bytes",
        "GPU memory in use, in bytes, where the operating system owns it (Grace Hopper), as the kernel says; "
        "perwatt_gpu_memory_used_bytes is absent then.",
        only(lambda slow: slow.os_memory_used_bytes),
    ),
    of_slow_reading(
        "perwatt_gpu_os_memory_total_bytes",
        "GPU memory that the operating system owns (Grace Hopper), in bytes, as the kernel says.",
        only(lambda slow: slow.os_memory_total_bytes),
    ),
)
