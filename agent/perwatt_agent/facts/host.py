"""Load of the host: its processors and its memory."""

from msgspec import Struct


class HostReading(Struct, frozen=True, omit_defaults=True):
    """Mean utilization of all processors since the previous reading, and use of memory."""

    cpu_utilization_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
