"""Idle power of a GPU, learnt while no process uses it."""

from collections import deque
from collections.abc import Iterable

from perwatt_agent.accounting.mig_split import activity
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading

# A GPU must be free for this long, with this many readings, before its power counts as idle power.
LEARN_SECONDS = 60.0
MIN_READINGS = 10
_MAX_READINGS = 600
# Processes of other containers may not be listed, but the memory that they use is visible.
_MAX_MEMORY_RATIO = 0.05


class IdlePower:
    """
    Idle power of one GPU: the median over the newest period in which no process used it.

    `watts` is None until it is learnt. A reading counts only if the list had no process that works before and
    after it, because a new process draws power before it is listed. The compositor of a desktop is listed for
    as long as the desktop runs, and is no work while it does nothing.
    """

    def __init__(self, watts: float | None = None) -> None:
        self.watts = watts
        self._watts: deque[float] = deque(maxlen=_MAX_READINGS)
        self._unconfirmed: list[float] = []
        self._free_since: float | None = None

    def add(self, reading: GpuReading, slow: GpuSlowReading | None, *, held: bool) -> None:
        """Add a reading, the newest slow one, and whether any workload holds the GPU."""
        if held or slow is None or _has_work(slow) or not _is_quiet(reading, slow):
            self._watts.clear()
            self._unconfirmed.clear()
            self._free_since = None
            return
        if self._free_since is None:
            self._free_since = reading.monotonic_seconds
        if reading.power_watts is not None:
            self._unconfirmed.append(reading.power_watts)
        if slow.monotonic_seconds >= reading.monotonic_seconds:
            self._watts.extend(self._unconfirmed)
            self._unconfirmed.clear()
            is_long = reading.monotonic_seconds - self._free_since >= LEARN_SECONDS
            if is_long and len(self._watts) >= MIN_READINGS:
                self.watts = _median(self._watts)


def _median(values: Iterable[float]) -> float:
    """As `statistics.median`, whose module loads fractions, decimals and random numbers."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _has_work(slow: GpuSlowReading) -> bool:
    """Whether a process uses the GPU; so it may where the list is not known."""
    return slow.processes is None or any(process.is_work for process in slow.processes)


def _is_quiet(reading: GpuReading, slow: GpuSlowReading) -> bool:
    used, total = reading.memory_used_bytes, reading.memory_total_bytes
    drawing = sum(process.memory_bytes or 0 for process in slow.processes or () if process.draws)
    is_empty = used is None or total is None or used - drawing <= _MAX_MEMORY_RATIO * total
    # The driver has no utilization of a GPU with MIG; its instances may have SM activity.
    does_nothing = reading.utilization_ratio == 0.0 if slow.mig is None else not any(map(activity, slow.mig))
    return does_nothing and is_empty
