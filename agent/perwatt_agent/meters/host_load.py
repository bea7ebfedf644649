"""Load of the host: utilization of its processors, and use of its memory."""

import psutil

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.host import HostReading

# Two files of /proc cost as much as reading a GPU, and nobody needs a host's load every second.
PERIOD_SECONDS = 5.0


class HostReader:
    """Reader of the host's load, at most every PERIOD_SECONDS, as the kernel shows it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: tuple[float, float] | None = None
        self._reading = HostReading()
        self._due_at = 0.0
        self.health = Health("host")

    def read(self) -> HostReading:
        """Return the latest load. Utilization is since the previous read, so the first read has none."""
        started = self._clock.monotonic()
        if started >= self._due_at:
            self._due_at = started + PERIOD_SECONDS
            self._reading = self._read(started)
        return self._reading

    def _read(self, started: float) -> HostReading:
        try:
            ratio, memory = self._busy_ratio(), psutil.virtual_memory()
            reading = HostReading(ratio, memory.total - memory.available, memory.total)
        except (OSError, psutil.Error):
            self.health.failed("unreadable")
            reading = HostReading()
        self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)
        return reading

    def _busy_ratio(self) -> float | None:
        """Return the time not spent idle or waiting for drives, divided by all time."""
        times = psutil.cpu_times()
        # `user` and `nice` already include the time of guests.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        busy = total - times.idle - getattr(times, "iowait", 0.0)
        before, self._times = self._times, (busy, total)
        if before is None or total <= before[1]:
            return None
        return min(1.0, max(0.0, (busy - before[0]) / (total - before[1])))
