"""Load of the host, from /proc: utilization of its processors, and use of its memory."""

from pathlib import Path

from perwatt_agent.clock import Clock
from perwatt_agent.collector_health import Health
from perwatt_agent.facts.host import HostReading

# Two files of /proc cost as much as reading a GPU, and nobody needs a host's load every second.
PERIOD_SECONDS = 5.0

# Places in the first line of /proc/stat, whose user and nice contain the guests already; see proc_stat(5).
_COUNTED, _IDLE, _IOWAIT = 8, 3, 4


class HostReader:
    """Reader of the host's load, at most every PERIOD_SECONDS, as the kernel shows it under `proc`."""

    def __init__(self, clock: Clock, proc: Path = Path("/proc")) -> None:
        self._clock = clock
        self._proc = proc
        self._ticks: tuple[int, int] | None = None
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
            reading = HostReading(self._busy_ratio(), *self._memory_bytes())
        except (OSError, ValueError, LookupError):
            self.health.failed("unreadable")
            reading = HostReading()
        self.health.attempted(self._clock.unix(), self._clock.monotonic() - started)
        return reading

    def _busy_ratio(self) -> float | None:
        """Return the time not spent idle or waiting for drives, divided by all time."""
        first, _, _ = (self._proc / "stat").read_text(encoding="ascii").partition("\n")
        ticks = [int(field) for field in first.split()[1:]][:_COUNTED]
        total = sum(ticks)
        busy = total - ticks[_IDLE] - ticks[_IOWAIT]
        before, self._ticks = self._ticks, (busy, total)
        if before is None or total <= before[1]:
            return None
        return min(1.0, max(0.0, (busy - before[0]) / (total - before[1])))

    def _memory_bytes(self) -> tuple[int, int]:
        """Used and total."""
        lines = (self._proc / "meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        total, available = kibibytes["MemTotal"], kibibytes["MemAvailable"]
        if available > total:  # in a container whose own limit is the total, but not of what is available
            available = kibibytes["MemFree"]
        return (total - available) * 1024, total * 1024
