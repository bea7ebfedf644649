"""What a process costs, and the few statistics that the results are made of."""

import compileall
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from msgspec import Struct

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "exporter", "aggregator", "cli")
MIB = 1024 * 1024
PATIENCE_SECONDS = 60.0


class Plan(Struct, frozen=True):
    """
    How long each part is measured; `rest_seconds` and `soak_seconds` are those of all rounds together.

    A round of either is a multiple of the 15 s after which perwatt reads what changes slowly.
    """

    starts: int = 5
    rest_seconds: float = 45.0
    soak_seconds: float = 90.0
    block_seconds: float = 3.0
    rounds: int = 3
    cell_seconds: float = 5.0
    fleet_seconds: float = 25.0
    survival_seconds: float = 10.0
    soak_ticks: int = 86_400


SHORT = Plan()
LONG = Plan(
    starts=20,
    rest_seconds=180.0,
    soak_seconds=3600.0,
    block_seconds=30.0,
    rounds=9,
    cell_seconds=60.0,
    fleet_seconds=900.0,
    survival_seconds=30.0,
    soak_ticks=7 * 86_400,
)


def compile_packages() -> None:
    """Write perwatt's byte code, as pip does for what it installs: else each start compiles all sources."""
    for package in PACKAGES:
        compileall.compile_dir(ROOT / package, quiet=1)


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and its living children, ended threads included, to the nanosecond."""
    return sum(time.clock_gettime(_cpu_clock(one)) for one in _tree(pid))


def rss_bytes(pid: int) -> int:
    """The resident memory of a process and its living children."""
    return sum(int(psutil.Process(one).memory_info().rss) for one in _tree(pid))


def _tree(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _cpu_clock(pid: int) -> int:
    """Linux's id of another process's CPU clock, as clock_getcpuclockid(3) makes it."""
    return (~pid << 3) | 2


class Span:
    """The CPU time of one process within a `measured` block: `share` is of one core."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_before = cpu_seconds(pid)
        self._started = time.monotonic()
        self.cpu_seconds = math.nan
        self.seconds = math.nan

    def end(self) -> None:
        self.cpu_seconds = cpu_seconds(self._pid) - self._cpu_before
        self.seconds = time.monotonic() - self._started

    @property
    def share(self) -> float:
        return self.cpu_seconds / self.seconds


@contextmanager
def measured(*pids: int) -> Iterator[list[Span]]:
    """Measure processes over the same time, so that what disturbs one disturbs all."""
    spans = [Span(pid) for pid in pids]
    yield spans
    for span in spans:
        span.end()


def wait_until(done: Callable[[], bool], every_seconds: float = 0.05) -> float:
    """Wait, and return the seconds that it took; raises TimeoutError."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > PATIENCE_SECONDS:
            raise TimeoutError(f"not done within {PATIENCE_SECONDS:.0f} s")
        time.sleep(every_seconds)
    return time.monotonic() - started


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile; NaN of nothing."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 2) -> str:
    """The median, and between brackets the least and the greatest, of rounds."""
    if not values:
        return "-"
    low, middle, high = (f"{scale * one:.{digits}f}" for one in (min(values), median(values), max(values)))
    return f"{middle} [{low} .. {high}]" if low != high else middle
