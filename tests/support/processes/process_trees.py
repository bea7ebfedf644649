"""
Trees of small real processes with the command lines, gpu_claims and sockets of engines.

    with running(tmp_path, Actor("root", "vllm serve m --port 8000", ...)) as tree:
        tree.pid("root"), tree.port("root"), tree.heard()

Each process is the program in actor.c under another command line. Run as a program, this file reads a tree
from standard input and becomes its root.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("actor.c")
CACHE = SOURCE.parents[3] / ".cache" / "actors"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation")
NOTHING = "-"
"""The page of a socket that answers nothing but 404."""


@dataclass(frozen=True)
class Socket:
    """A listening TCP socket, which gets a free port where `port` is 0, and the page that it serves."""

    name: str
    page: str = NOTHING
    path: str = "/metrics"
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True)
class Actor:
    """
    One process. `command` is its command line, in which `{port:NAME}` stands for a socket's port.

    It opens `sockets` and holds those of its ancestors that `holds` names; `comm` is its title. In the
    values of its `environment` ports can stand too.
    """

    name: str
    command: str
    sockets: Sequence[Socket] = ()
    holds: Sequence[str] = ()
    children: Sequence["Actor"] = ()
    comm: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Tree:
    """A tree that runs: who has which id, who listens where, and what was said to the sockets."""

    process: "subprocess.Popen[str]"
    log: Path
    ports: dict[str, int]
    pids: dict[str, int] = field(default_factory=dict)

    def pid(self, name: str) -> int:
        return self.pids[name]

    def port(self, socket_name: str) -> int:
        return self.ports[socket_name]

    def heard(self, socket_name: str) -> list[str]:
        """What a socket was told: "connected", then the first line of each request."""
        start = f"{self.port(socket_name)} "
        return [line[len(start) :] for line in self.log.read_text().splitlines() if line.startswith(start)]

    def listen(self) -> None:
        """Let processes that were started without listening begin to."""
        for pid in self.pids.values():
            os.kill(pid, signal.SIGUSR1)

    def kill(self) -> None:
        """End all of its processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(folder: Path, root: Actor, *, listens: bool = True) -> Iterator[Tree]:
    """
    Run the tree of *root*; its log lies in *folder*.

    Without *listens* its sockets are bound only, as while an engine loads, until it is told to listen.
    """
    folder.mkdir(exist_ok=True)
    log = folder / "heard"
    log.touch()
    bound = _bound(root)
    ports = {name: int(one.getsockname()[1]) for name, one in bound.items()}
    spec = {
        "program": str(program()),
        "log": str(log),
        "root": asdict(root),
        "ports": ports,
        "fds": {name: one.fileno() for name, one in bound.items()},
        "waits": not listens,
    }
    for one in bound.values():
        if listens:
            one.listen()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=[one.fileno() for one in bound.values()],
    )
    for one in bound.values():
        one.close()
    tree = Tree(process, log, ports)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(spec))
        process.stdin.close()
        for _ in range(_size(root)):
            name, pid = process.stdout.readline().split()
            tree.pids[name] = int(pid)
        yield tree
    finally:
        tree.kill()
        if process.stdout is not None:
            process.stdout.close()


def program() -> Path:
    """The compiled actor; built when its source changed. Safe side by side."""
    built = CACHE / hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    if not built.exists():
        compiler = shutil.which("gcc") or shutil.which("cc")
        assert compiler is not None, "no C compiler: install the Debian package gcc"
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            fresh = Path(scratch) / "actor"
            subprocess.run([compiler, *FLAGS, "-o", str(fresh), str(SOURCE)], check=True)
            fresh.replace(built)
    return built


def write_process(
    proc: Path, pid: int, parent: int, started_ticks: int, comm: str = "python", state: str = "S"
) -> None:
    """Put a vLLM that does not listen into the /proc at *proc*, for what real processes do not do at will."""
    folder = proc / str(pid)
    (folder / "fd").mkdir(parents=True, exist_ok=True)
    others = " ".join(["0"] * 17)
    (folder / "stat").write_text(f"{pid} ({comm}) {state} {parent} {others} {started_ticks} 0 0\n")
    (folder / "cmdline").write_bytes(b"/usr/bin/python\0/usr/bin/vllm\0serve\0m\0")


def _bound(actor: Actor) -> dict[str, socket.socket]:
    found: dict[str, socket.socket] = {}
    for one in actor.sockets:
        found[one.name] = socket.socket(socket.AF_INET6 if ":" in one.host else socket.AF_INET)
        found[one.name].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found[one.name].bind((one.host, one.port))
    for child in actor.children:
        found |= _bound(child)
    return found


def _size(actor: Actor) -> int:
    return 1 + sum(map(_size, actor.children))


def _become(spec: dict[str, Any], actor: dict[str, Any], inherited: dict[str, dict[str, Any]]) -> None:
    """Fork the children, then turn into the actor itself."""
    own = {one["name"]: one for one in actor["sockets"]}
    known = inherited | own
    for child in actor["children"]:
        if os.fork() == 0:
            _become(spec, child, known)
    held = own | {name: known[name] for name in actor["holds"]}
    fds = {name: fd for name, fd in spec["fds"].items() if name in held}
    for name, fd in spec["fds"].items():
        if name not in held:
            os.close(fd)
    served = (
        f"{fd}:{spec['ports'][name]}:{held[name]['path']}:{held[name]['page']}" for name, fd in fds.items()
    )
    command = _with_ports(actor["command"], spec["ports"])
    environment = {
        **{name: _with_ports(value, spec["ports"]) for name, value in actor["environment"].items()},
        "ACTOR_NAME": actor["name"],
        "ACTOR_COMM": actor["comm"] or command.split()[0].rpartition("/")[2],
        "ACTOR_LOG": spec["log"],
        "ACTOR_SOCKETS": ";".join(served),
        **({"ACTOR_WAITS": "1"} if spec["waits"] else {}),
    }
    os.execve(spec["program"], command.split(" "), environment)


def _with_ports(text: str, ports: dict[str, int]) -> str:
    for name, port in ports.items():
        text = text.replace(f"{{port:{name}}}", str(port))
    return text


if __name__ == "__main__":
    told = json.load(sys.stdin)
    _become(told, told["root"], {})
