"""A real agent under siege: too many scrapers, no descriptors, doubtful requests, no room for its state."""

import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent.process import Page, PerwattProcess, perwatt
from support.gpus.fakenvml import FakeDriver

from perwatt_agent.state.state_file import StateFile

SCRAPERS = 1_000
PATIENCE_SECONDS = 60.0


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    with FakeDriver.create(tmp_path, gpus=2, real_time=True) as driver:
        yield driver


@pytest.fixture
def agent(tmp_path: Path, driver: FakeDriver) -> Iterator[PerwattProcess]:
    with perwatt(tmp_path, "agent", environment=driver.environment()) as agent:
        agent.wait_for(all_up)
        yield agent


def all_up(page: Page) -> bool:
    return page.value("perwatt_gpus", state="ok") == 2


def connect(agent: PerwattProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", agent.port), PATIENCE_SECONDS)


def answer(sock: socket.socket) -> bytes:
    """All that is said until the end of the connection."""
    said = b""
    try:
        while chunk := sock.recv(65_536):
            said += chunk
    except ConnectionError:
        pass
    return said


def exchange(agent: PerwattProcess, request: bytes) -> bytes:
    with connect(agent) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        return answer(sock)


def test_a_thousand_scrapers_at_once(agent: PerwattProcess) -> None:
    """Each is served whole, told 503, or dropped; nobody waits without bound, and all is well after."""
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def scrape() -> None:
        request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        try:
            said = exchange(agent, request)
        except OSError:
            said = b""
        outcome = said.split(b" ", 2)[1].decode() if said else "dropped"
        with lock:
            outcomes[outcome] += 1

    threads = [threading.Thread(target=scrape, daemon=True) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert SCRAPERS == outcomes.total()
    assert set(outcomes) <= {"200", "503", "dropped"}
    assert outcomes["200"] > 0
    agent.wait_for(all_up)


POST = b"POST /v1/work HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\nHost: a\r\n\r\n",
    ],
    ids=[
        "length and chunked",
        "two lengths",
        "odd encoding",
        "negative length",
        "space in a name",
        "version",
    ],
)
def test_smuggling(agent: PerwattProcess, head: bytes) -> None:
    """A request that two servers could read in two ways is refused, and what follows it is never answered."""
    said = exchange(agent, head + b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")

    assert said.startswith(b"HTTP/1.1 400 ") or said == b""
    assert b"perwatt is healthy" not in said


def test_heads_without_measure(agent: PerwattProcess) -> None:
    """A head beyond the bound is refused, in one header or in many."""
    for headers in (
        b"X-A: " + b"a" * 40_000 + b"\r\n",  # arrives whole, in one read
        b"X-A: " + b"a" * 2_000_000 + b"\r\n",
        b"X-A: a\r\n" * 250_000,
    ):
        try:
            said = exchange(agent, b"GET /metrics HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
        except OSError:  # refused before it was sent to its end
            continue
        assert said == b"" or said.split(b" ", 2)[1] in (b"431", b"400")
    agent.wait_for(all_up)


def test_no_file_descriptors_left(agent: PerwattProcess) -> None:
    """Where no connection can be accepted the agent samples on, and answers as soon as one can."""
    before = taken_at(agent.page())
    used = len(list(Path(f"/proc/{agent.process.pid}/fd").iterdir()))
    _, hard = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (used, hard))
    idle = [connect(agent) for _ in range(20)]
    time.sleep(3.0)
    resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    for sock in idle:
        sock.close()

    page = agent.wait_for(all_up)
    assert taken_at(page) > before


def test_sigterm_under_load(agent: PerwattProcess) -> None:
    """While many scrape and some never finish, a stop takes less than five seconds and ends well."""
    slow = [connect(agent) for _ in range(50)]
    for sock in slow:
        sock.sendall(b"GET /metr")
    code, seconds = agent.stop(signal.SIGTERM)
    for sock in slow:
        sock.close()

    assert (0, True) == (code, seconds < 5.0)


def test_no_room_for_the_state(tmp_path: Path, driver: FakeDriver) -> None:
    """A state folder that cannot be written costs one line in the log and nothing on the page."""
    folder = tmp_path / "file"
    folder.write_text("in the way")
    arguments = ("agent", "--sample-interval", "100ms")
    with perwatt(tmp_path, *arguments, state_dir=folder, environment=driver.environment()) as agent:
        agent.wait_for(all_up)
        time.sleep(0.5)
        assert 1 == agent.log.count("cannot write")


def test_a_full_disk(tmp_path: Path, driver: FakeDriver) -> None:
    """
    Where neither state nor log can be written the agent samples on, and remembers as soon as it can. What it
    cannot keep current it removes: after a restart, old counters would count twice.
    """
    arguments = ("agent", "--sample-interval", "100ms")
    state = StateFile(tmp_path)
    with perwatt(tmp_path, *arguments, environment=driver.environment()) as agent:
        agent.wait_for(lambda page: all_up(page) and state.load())
        _, hard = resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (16, hard))
        time.sleep(0.5)
        taken = taken_at(agent.page())
        agent.wait_for(lambda page: all_up(page) and taken_at(page) > taken + 1.0)
        assert state.load() is None

        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        agent.wait_for(lambda _: state.load() is not None)
        assert 0 == agent.stop()[0]
    assert state.load() is not None


def taken_at(page: Page) -> float:
    return page.value("perwatt_snapshot_timestamp_seconds") or 0.0
