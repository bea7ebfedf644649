"""A real `perwatt` process, started as an operator would start it."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

START_SECONDS = 60.0
_open = build_opener(ProxyHandler({})).open
_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")


_handed_out: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, never given twice, and below those that clients are given."""
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        if port in _handed_out:
            continue
        _handed_out.add(port)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def get(url: str, headers: Mapping[str, str] | None = None) -> str:
    with _open(Request(url, headers=dict(headers or {})), timeout=10.0) as response:
        return str(response.read().decode())


class Page:
    """The samples of one text page: (name, labels) -> value."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for line in text.splitlines():
            found = _SAMPLE.match(line)
            if found:
                labels = re.findall(r'(\w+)="([^"]*)"', found["labels"] or "")
                self.samples[found["name"], frozenset(labels)] = float(found["value"])

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample that has these labels among its own; None when there is none."""
        values = self.values(name, **labels)
        assert len(values) <= 1, f"{name}{labels} is not one series"
        return values[0] if values else None

    def values(self, name: str, **labels: str) -> list[float]:
        wanted = set(labels.items())
        return [value for (key, has), value in self.samples.items() if key == name and wanted <= has]


class PerwattProcess:
    """A running `perwatt` command; `log` is what it wrote to standard error."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def page(self) -> Page:
        return Page(get(f"http://{self.address}/metrics"))

    def wait_for(self, accept: object, timeout_seconds: float = START_SECONDS) -> Page:
        """Read the page until *accept(page)* is true; raises AssertionError with the last page."""
        assert callable(accept)
        deadline = time.monotonic() + timeout_seconds
        while True:
            text = "no answer"
            try:
                page = self.page()
                if accept(page):
                    return page
                text = page.text
            except (URLError, ConnectionError, TimeoutError):
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"the page never came to it; last:\n{text}\nlog:\n{self.log}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM, timeout_seconds: float = 30.0) -> tuple[int, float]:
        """Send a signal; the exit code, and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(timeout_seconds), time.monotonic() - started


@contextmanager
def perwatt(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    state_dir: Path | None = None,
) -> Iterator[PerwattProcess]:
    """
    Run `perwatt ARGUMENTS` with its page on a free loopback port, its state in *state_dir* or else *folder*.
    """
    port = port or free_port()
    log = folder / f"perwatt-{port}-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "perwatt.main", *arguments]
    command += ["--web.listen-address", f"127.0.0.1:{port}"]
    if arguments[0] in ("agent", "up"):
        command += ["--state-dir", str(state_dir or folder)]
    if arguments[0] in ("agent", "aggregator", "up"):
        command += ["--data-dir", str(folder / "data")]
    if arguments[0] == "up":
        command += ["--aggregator.data-dir", str(folder / "data")]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **(environment or {})}
        )
    try:
        yield PerwattProcess(process, port, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
