"""The load of the host, over files of /proc that are laid out for the test."""

from pathlib import Path

import psutil
import pytest

from perwatt_agent.clock import ManualClock
from perwatt_agent.facts.host import HostReading
from perwatt_agent.meters.host_load import PERIOD_SECONDS, HostReader

MEMINFO = """\
MemTotal: 1000 kB
MemFree: 200 kB
MemAvailable: 600 kB
Buffers: 1 kB
Cached: 300 kB
Shmem: 1 kB
Active: 1 kB
Inactive: 1 kB
Slab: 1 kB
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Where the kernel shows a machine whose memory is two fifths full."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    return tmp_path


def stat(proc: Path, *, user: int, idle: int, iowait: int = 0, guest: int = 0) -> None:
    """Ticks since boot: user nice system idle iowait irq softirq steal guest guest_nice."""
    (proc / "stat").write_text(f"cpu  {user} 0 0 {idle} {iowait} 0 0 0 {guest} 0\n")


def test_load(proc: Path, clock: ManualClock) -> None:
    """Busy is neither idle nor waiting for drives, and guests count once; the first read cannot tell."""
    stat(proc, user=1_000, idle=5_000)
    reader = HostReader(clock, proc)
    assert HostReading(None, 400 * 1024, 1_000 * 1024) == reader.read()

    stat(proc, user=1_030, idle=5_060, iowait=10, guest=30)
    clock.advance(PERIOD_SECONDS)
    assert pytest.approx(0.3) == reader.read().cpu_utilization_ratio
    assert reader.health.snapshot().success


def test_standing_still(proc: Path, clock: ManualClock) -> None:
    """Over no time at all nothing can be told."""
    stat(proc, user=1_000, idle=5_000)
    reader = HostReader(clock, proc)
    reader.read()
    clock.advance(PERIOD_SECONDS)

    assert reader.read().cpu_utilization_ratio is None


def test_not_every_second(proc: Path, clock: ManualClock) -> None:
    """What is read stands for the period, however often it is asked for."""
    stat(proc, user=1_000, idle=5_000)
    reader = HostReader(clock, proc)
    first = reader.read()
    stat(proc, user=1_030, idle=5_060)
    clock.advance(PERIOD_SECONDS - 0.1)

    assert first is reader.read()


def test_unreadable(proc: Path, clock: ManualClock) -> None:
    """What cannot be read is unknown, and the collector says so."""
    reader = HostReader(clock, proc)

    assert HostReading() == reader.read()
    health = reader.health.snapshot()
    assert ("host", False, (("unreadable", 1),)) == (health.name, health.success, health.failures)


def test_of_this_machine(clock: ManualClock) -> None:
    """On a real machine memory is used, and not more than there is."""
    host = HostReader(clock).read()

    assert host.memory_used_bytes is not None
    assert host.memory_total_bytes is not None
    assert 0 < host.memory_used_bytes < host.memory_total_bytes


def test_more_available_than_there_is(proc: Path, clock: ManualClock) -> None:
    """In a container whose limit is the total, not of what is available, what is free counts."""
    stat(proc, user=1_000, idle=5_000)
    (proc / "meminfo").write_text(MEMINFO.replace("MemAvailable: 600", "MemAvailable: 6000"))

    assert HostReading(None, 800 * 1024, 1_000 * 1024) == HostReader(clock, proc).read()


def test_as_psutil_reads_it(clock: ManualClock) -> None:
    """Of a real machine psutil, which `perwatt doctor` uses, reads the same memory."""
    expected, host = psutil.virtual_memory(), HostReader(clock).read()

    assert expected.total == host.memory_total_bytes
    assert host.memory_used_bytes is not None
    assert expected.total - expected.available == pytest.approx(host.memory_used_bytes, rel=0.2)
