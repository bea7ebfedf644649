"""The exporters that are compared, each started as its README says, over a fake driver of its own."""

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from support.agent.process import free_port
from support.gpus.fakenvml import FakeDriver

from benchmarks.peers import environments
from benchmarks.tools.harness import wait_until
from benchmarks.tools.scraping import page

MEMORY = Path("/dev/shm")  # where state and the driver's control file lie, as the state does in /run
START_POLL_SECONDS = 0.005
_LINK = re.compile(r'link="[^"]*"')


class Exporter(Struct, frozen=True):
    """
    How an exporter is started, and what its page calls a GPU's power.

    `{port}` and `{folder}` in `command` are filled in. `gpu_label` holds the GPU's UUID.
    """

    name: str
    version: str
    command: tuple[str, ...]
    power: str
    gpu_label: str

    def watts(self, body: bytes) -> dict[str, float]:
        """Each GPU's power on a page, by UUID; NaN where the page says NaN."""
        lines = re.findall(rf"^{self.power}\{{(.*)\}} (\S+)", body.decode(), re.MULTILINE)
        return {self._gpu(labels): float(value) for labels, value in lines}

    def facts(self, body: bytes, gpu: str) -> int:
        """How many things a page tells of one GPU in numbers; all its links together are one."""
        lines = re.findall(rf'^([^#\n].*{self.gpu_label}="{gpu}".*) (\S+)$', body.decode(), re.MULTILINE)
        return len({_LINK.sub("", series) for series, value in lines if value != "NaN"})

    def _gpu(self, labels: str) -> str:
        found = re.search(rf'{self.gpu_label}="([^"]*)"', labels)
        return found[1] if found else ""


class Running(NamedTuple):
    """An exporter that runs: its process, port and driver, and the seconds to its first whole page."""

    exporter: Exporter
    process: "subprocess.Popen[bytes]"
    port: int
    driver: FakeDriver
    first_page_seconds: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def watts(self) -> dict[str, float]:
        return self.exporter.watts(self.body())

    def body(self) -> bytes:
        return page(self.port).body


def perwatt(version: str, *arguments: str, name: str = "perwatt") -> Exporter:
    """The agent, with more arguments than it needs where there are any."""
    program = str(Path(sys.executable).with_name("perwatt"))
    command = (program, "agent", "--web.listen-address", "127.0.0.1:{port}")
    return Exporter(
        name,
        version,
        (*command, "--state-dir", "{folder}", "--data-dir", "{folder}", *arguments),
        "perwatt_gpu_power_watts",
        "gpu",
    )


def nvitop_exporter() -> Exporter | None:
    """The peer in a virtual environment of its own, on this Python; None where it cannot be installed."""
    installed = environments.exporters()
    if installed is None:
        return None
    command = (installed.program("nvitop-exporter"), "--port", "{port}")
    version = installed.version("nvitop-exporter")
    return Exporter("nvitop-exporter", version, command, "gpu_power_usage_W", "uuid")


def given(command: str, power: str, gpu_label: str) -> Exporter:
    """An exporter of the user's; `{port}` in its command, and *power* is its metric of a GPU's power."""
    words = tuple(shlex.split(command))
    return Exporter(Path(words[0]).name, "", words, power, gpu_label)


@contextmanager
def started(
    exporter: Exporter,
    gpus: int = 8,
    latency_seconds: float = 0.0,
    prepare: Callable[[FakeDriver], None] = lambda driver: None,
) -> Iterator[Running]:
    """Run an exporter over a fresh driver, *prepare*d, until its page shows the power of every GPU."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name,
        FakeDriver.create(Path(name), gpus=gpus, real_time=True) as driver,
    ):
        prepare(driver)
        if latency_seconds:
            slowed(driver, gpus, latency_seconds)
        port = free_port()
        command = [part.format(port=port, folder=name) for part in exporter.command]
        with process(command, driver.environment()) as child:

            def whole() -> bool:
                try:
                    return len(exporter.watts(page(port).body)) == gpus
                except (OSError, EOFError):
                    if child.poll() is not None:
                        raise RuntimeError(f"{exporter.name} ended with {child.returncode}") from None
                    return False

            seconds = wait_until(whole, START_POLL_SECONDS)
            yield Running(exporter, child, port, driver, seconds)


def slowed(driver: FakeDriver, gpus: int, latency_seconds: float) -> None:
    """Let every call about a GPU take its time."""
    for gpu in range(gpus):
        driver.latency("*", latency_seconds, gpu)


@contextmanager
def side_by_side(
    exporters: Sequence[Exporter], gpus: int = 8, latency_seconds: float = 0.0
) -> Iterator[list[Running]]:
    """Run all of them at once, each over a driver of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(started(one, gpus, latency_seconds)) for one in exporters]


@contextmanager
def process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a quiet process, and kill it at the end: some of them hang by intent."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            yield child
        finally:
            child.kill()
