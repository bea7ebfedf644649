"""codecarbon and zeus over a fake driver, each in a process of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.gpus.fakenvml import FakeDriver

from benchmarks.peers.environments import HERE, Peers

TOOLS = ("codecarbon", "zeus")


class Tool:
    """One tool that measures every GPU of a driver between `begin` and `end`."""

    def __init__(self, name: str, child: "subprocess.Popen[str]", log: Path) -> None:
        self.name = name
        self._log = log
        self._child = child
        self._begun: list[Any] = []

    def begin(self) -> None:
        self._begun = self._ask("begin")

    def end(self) -> list[tuple[float, float, float]]:
        """Of each GPU: the instants of beginning and end in monotonic seconds, and the joules between."""
        ended = self._ask("end")
        return [(begin, end, joules) for begin, (end, joules) in zip(self._begun, ended, strict=True)]

    def wait_until_ready(self) -> None:
        self._line("ready")

    def _ask(self, what: str) -> list[Any]:
        assert self._child.stdin is not None
        print(what, file=self._child.stdin, flush=True)
        answer: list[float] = json.loads(self._line("answer ").removeprefix("answer "))
        return answer

    def _line(self, start: str) -> str:
        """The next line of its own; the tools print to standard output, too."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self.name} ended with {self._child.wait()}: {self._log.read_text()[-500:]}")


@contextmanager
def tool(name: str, peers: Peers, driver: FakeDriver, gpus: int, folder: Path) -> Iterator[Tool]:
    """Start a tool over the first *gpus* of a driver."""
    environment = driver.environment() | {"PATH": f"{_nvidia_smi(folder)}{os.pathsep}{os.environ['PATH']}"}
    log = folder / f"{name}.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [peers.python, HERE / "energy_peer.py", name, str(gpus)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            text=True,
            start_new_session=True,
        ) as child,
    ):
        started = Tool(name, child, log)
        try:
            started.wait_until_ready()
            yield started
        finally:
            os.killpg(child.pid, signal.SIGKILL)  # zeus polls in a process of its own


def _nvidia_smi(folder: Path) -> Path:
    """A folder with an `nvidia-smi` that succeeds: codecarbon asks whether there is one, and no more."""
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    return program.parent
