"""
Process metrics of the agent, as prometheus_client writes them, without loading it.

Its package loads an HTTP server, an HTTP client and a parser of mail: 3 MiB on every node. A test holds
these families against its own; the aggregator shows its own (`client_process.py`).
"""

import os
import platform
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from perwatt_exporter.page.family import Collected, Family, Kind, Sample

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ProcessReading(Struct, frozen=True):
    """What the kernel shows of one process; None where it shows nothing."""

    virtual_bytes: float | None = None
    resident_bytes: float | None = None
    start_unix_seconds: float | None = None
    cpu_seconds: float | None = None
    open_fds: float | None = None
    max_fds: float | None = None


def _family(
    name: str, kind: Kind, help_text: str, value: Callable[[ProcessReading], float | None]
) -> Family[ProcessReading]:
    def read(reading: ProcessReading) -> Iterator[Sample]:
        if (amount := value(reading)) is not None:
            yield (), amount

    return Family(name, kind, help_text, (), read)


def _python(_: ProcessReading) -> Iterator[Sample]:
    version = platform.python_version_tuple()
    yield (platform.python_version(), platform.python_implementation(), *version), 1


FAMILIES: tuple[Family[ProcessReading], ...] = (
    _family(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory size in bytes.",
        lambda reading: reading.virtual_bytes,
    ),
    _family(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        lambda reading: reading.resident_bytes,
    ),
    _family(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        lambda reading: reading.start_unix_seconds,
    ),
    _family(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        lambda reading: reading.cpu_seconds,
    ),
    _family(
        "process_open_fds", "gauge", "Number of open file descriptors.", lambda reading: reading.open_fds
    ),
    _family(
        "process_max_fds",
        "gauge",
        "Maximum number of open file descriptors.",
        lambda reading: reading.max_fds,
    ),
    Family(
        "python_info",
        "gauge",
        "Python platform information",
        ("version", "implementation", "major", "minor", "patchlevel"),
        _python,
    ),
)


class ProcessMetrics:
    """Reads FAMILIES of this process. `proc` is where the kernel shows processes."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._boot_unix_seconds = _boot_unix_seconds(proc)

    def __call__(self) -> tuple[Collected[ProcessReading], ...]:
        reading = self.read()
        return tuple((family, family.read(reading)) for family in FAMILIES)

    def read(self) -> ProcessReading:
        """What the kernel shows now; see proc_pid_stat(5)."""
        own = self._proc / "self"
        try:
            # The program's name, in brackets, may hold anything; the fields after it are numbers.
            fields = (own / "stat").read_bytes().rpartition(b")")[2].split()
            fds = len(os.listdir(own / "fd"))  # noqa: PTH208 - a path for each descriptor is not needed
        except OSError:
            return ProcessReading()
        user, system, start = (float(fields[place]) / TICKS_PER_SECOND for place in (11, 12, 19))
        boot = self._boot_unix_seconds
        return ProcessReading(
            virtual_bytes=float(fields[20]),
            resident_bytes=float(fields[21]) * resource.getpagesize(),
            start_unix_seconds=None if boot is None else start + boot,
            cpu_seconds=user + system,
            open_fds=fds,
            max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )


def _boot_unix_seconds(proc: Path) -> float | None:
    try:
        lines = (proc / "stat").read_bytes().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) for line in lines if line.startswith(b"btime ")), None)
