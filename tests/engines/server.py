"""A real engine's server, started as an operator would start it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

from engines import install
from engines.client import MODEL
from support.agent.process import get

# A CPU build of vLLM takes a minute on a quiet machine.
START_SECONDS = 600.0
END_SECONDS = 30.0


class Engine(NamedTuple):
    """
    One engine: its name on perwatt's page, how it is installed and started, and what part of it computes.

    `computes` is how that process's command line begins, empty where it is the server itself.
    """

    name: str
    install: Callable[[], tuple[Path, Path]]
    arguments: Callable[[Path, int], list[str]]
    computes: str = ""

    def command(self, port: int) -> list[str]:
        program, model = self.install()
        return [str(program), *self.arguments(model, port)]


def _llamacpp(model: Path, port: int) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port), "--metrics"]
    slots = ["--parallel", "4", "--ctx-size", "16384", "--threads", "1"]
    return ["--model", str(model), "--alias", MODEL, *address, *slots]


def _vllm(model: Path, port: int) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port)]
    size = ["--max-model-len", "1024", "--enforce-eager", "--enable-prompt-tokens-details"]
    return ["serve", str(model), "--served-model-name", MODEL, *address, *size]


LLAMACPP = Engine("llamacpp", install.llamacpp, _llamacpp)
VLLM = Engine("vllm", install.vllm, _vllm, computes="VLLM::Worker")

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
}


class Server:
    """A running engine; all its processes are one process group."""

    def __init__(self, engine: Engine, port: int, log: Path) -> None:
        self.port = port
        self._engine = engine
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["nice", "-n", "19", *engine.command(port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def computing_pid(self) -> int:
        """Wait for the process that would hold the GPU, if there were one."""
        return self._wait_for(self._find_computing_pid)

    def wait_until_ready(self) -> None:
        """Wait until the model is loaded."""
        self._wait_for(self._is_ready)

    def end(self) -> None:
        """Let the server end by itself, and give its shared memory back; then leave no process of it."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def _wait_for(self, find: Callable[[], int]) -> int:
        """Ask until the answer is not 0; raises AssertionError with the engine's log."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := find()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self._engine.name} did not start:\n{self._log.read_text()[-5000:]}")
            time.sleep(0.05)
        return found

    def _is_ready(self) -> bool:
        try:
            get(f"http://127.0.0.1:{self.port}/health")
        except (URLError, ConnectionError, TimeoutError):
            return False
        return True

    def _find_computing_pid(self) -> int:
        if not self._engine.computes:
            return self.pid
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_text(errors="replace")
                if command.startswith(self._engine.computes) and os.getpgid(int(folder.name)) == self.pid:
                    return int(folder.name)
        return 0


@contextmanager
def running(engine: Engine, port: int, folder: Path) -> Iterator[Server]:
    """Start an engine, which is not ready yet; at the end no process of it is left."""
    server = Server(engine, port, folder / f"{engine.name}.log")
    try:
        yield server
    finally:
        server.end()
