"""What the supervisor hears of a real agent, on a real socket."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent.process import perwatt
from support.gpus.fakenvml import FakeDriver

PATIENCE_SECONDS = 60.0


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[socket.socket]:
    """The supervisor's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_SECONDS)
        yield sock


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=2, real_time=True) as driver:
        yield driver


def environment(driver: FakeDriver, notify: socket.socket, **more: str) -> dict[str, str]:
    return {**driver.environment(), "NOTIFY_SOCKET": str(notify.getsockname()), **more}


def drain(notify: socket.socket) -> None:
    """Read what was said before; raises TimeoutError when nothing more comes."""
    for _ in range(1_000):
        notify.recv(4096)


def test_ready_then_fed_by_every_sweep(tmp_path: Path, driver: FakeDriver, notify: socket.socket) -> None:
    """Ready comes once, with the first sweep; the watchdog is fed by each, also while the driver hangs."""
    with perwatt(tmp_path, "agent", "--sample-interval", "100ms", environment=environment(driver, notify)):
        assert b"READY=1\nWATCHDOG=1" == notify.recv(4096)
        assert {b"WATCHDOG=1"} == {notify.recv(4096) for _ in range(5)}
        driver.hang("*", 0).wait_until_hanging()
        assert {b"WATCHDOG=1"} == {notify.recv(4096) for _ in range(20)}


def test_a_process_that_stands_still(tmp_path: Path, driver: FakeDriver, notify: socket.socket) -> None:
    """An agent that is stopped feeds nothing, and goes on when it is continued: fresh, and with its page."""
    with perwatt(
        tmp_path, "agent", "--sample-interval", "100ms", environment=environment(driver, notify)
    ) as agent:
        before = agent.wait_for(lambda page: page.value("perwatt_gpus", state="ok") == 2)
        agent.process.send_signal(signal.SIGSTOP)
        notify.settimeout(1.0)
        with pytest.raises(TimeoutError):
            drain(notify)
        agent.process.send_signal(signal.SIGCONT)
        notify.settimeout(PATIENCE_SECONDS)
        assert b"WATCHDOG=1" == notify.recv(4096)
        name = "perwatt_snapshot_timestamp_seconds"
        agent.wait_for(lambda page: page.value(name) > before.value(name) + 1.0)


def test_a_long_interval_asks_for_patience(tmp_path: Path, driver: FakeDriver, notify: socket.socket) -> None:
    """A watchdog shorter than four sweeps is made longer before it can bite."""
    patient = environment(driver, notify, WATCHDOG_USEC="30000000")
    with perwatt(tmp_path, "agent", "--sample-interval", "20s", environment=patient):
        assert b"READY=1\nWATCHDOG_USEC=80000000\nWATCHDOG=1" == notify.recv(4096)


def test_nobody_listens(tmp_path: Path, driver: FakeDriver) -> None:
    """A supervisor that has gone costs a line in the log, never the agent."""
    gone = {**driver.environment(), "NOTIFY_SOCKET": str(tmp_path / "gone")}
    with perwatt(tmp_path, "agent", "--sample-interval", "100ms", environment=gone) as agent:
        agent.wait_for(lambda page: page.value("perwatt_gpus", state="ok") == 2)
        assert 1 == agent.log.count("cannot notify systemd")


def test_an_xid_error_is_published_at_once(tmp_path: Path, driver: FakeDriver) -> None:
    """It is on the page, in the health and among the events while the next sweep is a minute away."""
    arguments = ("agent", "--sample-interval", "60s")
    with perwatt(tmp_path, *arguments, environment=driver.environment()) as agent:
        before = agent.wait_for(lambda page: page.value("perwatt_gpus", state="ok") == 2)
        while not driver.calls("nvmlEventSetWait_v2"):
            pass
        driver.xid(1, 79)
        sick = {"gpu": driver.uuid(1)}
        page = agent.wait_for(
            lambda page: page.value("perwatt_gpu_xid_errors_total", xid="79", **sick) == 1, 30.0
        )

        stamp = "perwatt_snapshot_timestamp_seconds"
        assert before.value(stamp) == page.value(stamp), "no sweep came between"
        assert 1 == page.value("perwatt_gpu_health", state="failed", **sick)
        assert 1 == page.value("perwatt_gpu_health_reason", reason="xid_fatal", **sick)
        assert 1 == page.value("perwatt_events_total", kind="xid")
        assert 1 == page.value("perwatt_gpu_health", state="ok", gpu=driver.uuid(0))
