"""Load of the host: its processors and its memory."""

from msgspec import Struct


class HostReading(Struct, frozen=True, omit_defaults=True):
    """How busy the processors were since the reading before, all together, and how full memory is."""

    cpu_utilization_ratio: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
