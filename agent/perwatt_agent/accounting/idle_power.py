"""What a GPU draws while nobody uses it: learnt while no process is on it, never guessed."""

from collections import deque
from statistics import median

from perwatt_agent.accounting.mig_split import activity
from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading

# A GPU must be free for this long, and be read this often meanwhile, before its power is its idle power.
LEARN_SECONDS = 60.0
MIN_READINGS = 10
_MOST_READINGS = 600
# Processes of other containers are not listed to us, but what they hold of the memory shows.
_MOST_MEMORY_RATIO = 0.05


class IdlePower:
    """
    Learn one GPU's idle power: the median over the newest stretch in which no process was on it.

    `watts` is None until it was learnt. A reading counts only once the list of processes was empty before
    it and after it, as a process that has just come draws power before it computes.
    """

    def __init__(self, watts: float | None = None) -> None:
        self.watts = watts
        self._watts: deque[float] = deque(maxlen=_MOST_READINGS)
        self._unconfirmed: list[float] = []
        self._free_since: float | None = None

    def add(self, reading: GpuReading, slow: GpuSlowReading | None, *, held: bool) -> None:
        """Take note of a reading, the newest slow one, and whether any workload holds the GPU."""
        if held or slow is None or slow.processes != () or not _is_quiet(reading, slow):
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
                self.watts = median(self._watts)


def _is_quiet(reading: GpuReading, slow: GpuSlowReading) -> bool:
    used, total = reading.memory_used_bytes, reading.memory_total_bytes
    is_empty = used is None or total is None or used <= _MOST_MEMORY_RATIO * total
    # The driver tells no utilization of a divided GPU; its instances may tell what their SMs do.
    does_nothing = reading.utilization_ratio == 0.0 if slow.mig is None else not any(map(activity, slow.mig))
    return does_nothing and is_empty
