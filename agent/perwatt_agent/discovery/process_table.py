"""Process table of a /proc: parents, start times and command lines."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from perwatt_agent.discovery.command_line import program

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ENDED_STATES = (b"Z", b"X")
_MAX_STAT_BYTES = 4096
_MAX_COMMAND_BYTES = 64 * 1024
_MAX_ENVIRONMENT_BYTES = 256 * 1024


class Process(Struct, frozen=True):
    """
    A running process. `started_ticks` (since boot) distinguishes processes with the same `pid`, and `comm`
    distinguishes programs and titles of the same process.
    """

    pid: int
    parent: int
    started_ticks: int
    comm: str

    @property
    def key(self) -> tuple[int, int]:
        """Key that stays the same from its start to its end, whatever its title and parent are."""
        return self.pid, self.started_ticks

    @property
    def started_seconds(self) -> float:
        """Its start, in seconds since boot."""
        return self.started_ticks / _TICKS_PER_SECOND


class ProcessTable:
    """The /proc at *root*. Each command line is read once for each Process."""

    def __init__(self, root: Path = PROC) -> None:
        self.root = root
        self._commands: dict[Process, tuple[str, ...]] = {}
        self._programs: dict[Process, str] = {}

    def process(self, pid: int) -> Process | None:
        """Return the process with this id; None if there is none, or if it is a zombie."""
        stat = _read(f"{self.root}/{pid}/stat", _MAX_STAT_BYTES)
        if not stat:
            return None
        name, _, rest = stat.partition(b"(")[2].rpartition(b")")
        fields = rest.split(None, 20)
        if fields[0] in _ENDED_STATES:
            return None
        return Process(pid, int(fields[1]), int(fields[19]), name.decode(errors="replace"))

    def is_visible(self, pid: int) -> bool:
        """Return whether this id is there, if only as a zombie. Hidden processes are not."""
        return bool(_read(f"{self.root}/{pid}/stat", 1))

    def all(self) -> dict[int, Process]:
        """Return every process, by id."""
        names = os.listdir(self.root)  # noqa: PTH208 - a Path for each costs more than reading it
        pids = (int(name) for name in names if name.isdigit())
        found = {process.pid: process for pid in pids if (process := self.process(pid)) is not None}
        for gone in [process for process in self._commands if found.get(process.pid) != process]:
            del self._commands[gone]
            self._programs.pop(gone, None)
        return found

    def is_alive(self, process: Process) -> bool:
        """Return whether *process* still runs, and its id was not reused."""
        now = self.process(process.pid)
        return now is not None and now.key == process.key

    def command(self, process: Process) -> tuple[str, ...]:
        """Return its arguments, or its title if it has set one; empty for a kernel thread."""
        command = self._commands.get(process)
        if command is None:
            text = _read(f"{self.root}/{process.pid}/cmdline", _MAX_COMMAND_BYTES) or b""
            parts = text.decode(errors="replace").rstrip("\0 ").split("\0")
            command = self._commands[process] = tuple(part.rstrip() for part in parts) if parts[0] else ()
        return command

    def program(self, process: Process) -> str:
        """Return the program that it runs, without folder and interpreter."""
        text = self._programs.get(process)
        if text is None:
            text = self._programs[process] = program(self.command(process))
        return text

    def variable(self, process: Process, name: str) -> str:
        """Return a variable from the environment at its start; empty if unset or unreadable."""
        start = f"{name}=".encode()
        environment = _read(f"{self.root}/{process.pid}/environ", _MAX_ENVIRONMENT_BYTES) or b""
        values = (entry for entry in environment.split(b"\0") if entry.startswith(start))
        return next(values, b"")[len(start) :].decode(errors="replace")

    def started_unix_seconds(self, process: Process) -> float | None:
        """Return its start in Unix seconds, to the second; None if unknown."""
        for line in (_read(f"{self.root}/stat", 1024 * 1024) or b"").splitlines():
            if line.startswith(b"btime "):
                return int(line.split()[1]) + process.started_seconds
        return None


def ancestors(process: Process, processes: Mapping[int, Process]) -> Iterator[Process]:
    """Yield *process*, its parent, and so on up to the first process."""
    seen = set[int]()
    current: Process | None = process
    while current is not None and current.pid not in seen:
        seen.add(current.pid)
        yield current
        current = processes.get(current.parent)


def children_of(processes: Iterable[Process]) -> dict[int, list[Process]]:
    """Return the children of each process, by its id."""
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    return children


def descendants(process: Process, children: Mapping[int, list[Process]]) -> Iterator[Process]:
    """Yield *process* and all its descendants, nearest first."""
    seen, waiting = {process.pid}, [process]
    for current in waiting:
        yield current
        new = [child for child in children.get(current.pid, ()) if child.pid not in seen]
        seen.update(child.pid for child in new)
        waiting += new


def _read(path: str, max_bytes: int) -> bytes | None:
    """Return the start of a file of /proc; None if it is gone or may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, max_bytes)
    except OSError:
        return None
    finally:
        os.close(descriptor)
