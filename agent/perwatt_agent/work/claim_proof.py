"""Proof of GPU claims: the process that a job names must be on the GPU, and be of the user that reports."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct

from perwatt_agent.facts.readings import GpuSample

PROC = Path("/proc")
INIT = 1
_ROOT_USER = 0
_MAX_DEPTH = 64
_MAX_STATUS_BYTES = 8192


class Claimant(Struct, frozen=True):
    """The process that a report names, by its id as it sees it, and the user who reported, if known."""

    pid: int
    user: int | None


class _Process(Struct, frozen=True):
    """A process: its parent, its user, and its ids in the PID namespaces below the agent's."""

    pid: int
    parent: int
    user: int
    inner_pids: tuple[int, ...]


class ClaimProof:
    """
    Checks claims against the processes that the driver lists on each GPU.

    A claim on a GPU holds if the named process, an ancestor or a descendant of it is listed there. The
    reporting user must be that of the process, or root. The first process of the machine is nobody's proof:
    it is the ancestor of all. Jobs that match one of the *trusted* patterns need no proof.
    """

    def __init__(self, trusted: Sequence[str] = (), proc: Path = PROC) -> None:
        self._trusted = tuple(trusted)
        self._proc = proc
        self._listed: dict[str, frozenset[int]] = {}
        self._read: dict[int, _Process | None] = {}
        self._families: dict[str, dict[int, _Process]] = {}
        self.version = 0
        """Increases when the driver lists processes again: what was found before may have changed."""

    def update(self, samples: Iterable[GpuSample]) -> None:
        """Update the processes of the GPUs whose slow reading is in *samples*."""
        listed = {
            sample.uuid: frozenset(one.pid for one in sample.slow.processes or ())
            for sample in samples
            if sample.slow is not None
        }
        if listed:
            self._listed |= listed
            self._read, self._families = {}, {}
            self.version += 1

    def trusts(self, job: str) -> bool:
        return any(fnmatchcase(job, pattern) for pattern in self._trusted)

    def holds(self, uuid: str, claimants: Collection[Claimant]) -> bool:
        """Return whether one of *claimants* computes on the GPU."""
        listed = self._listed.get(uuid, frozenset())
        return any(self._is_on(uuid, listed, one) for one in claimants)

    def _is_on(self, uuid: str, listed: frozenset[int], claimant: Claimant) -> bool:
        process = self._family(uuid, listed).get(claimant.pid)
        if process is not None and _may_report(claimant, process):
            return True
        above = list(self._up(claimant.pid))
        return bool(above) and _may_report(claimant, above[0]) and any(one.pid in listed for one in above)

    def _family(self, uuid: str, listed: frozenset[int]) -> dict[int, _Process]:
        """The processes on a GPU and their ancestors, by each id that they have; the agent's id wins."""
        if uuid not in self._families:
            members = [one for pid in listed for one in self._up(pid)]
            inner = {pid: one for one in members for pid in one.inner_pids}
            self._families[uuid] = inner | {one.pid: one for one in members}
        return self._families[uuid]

    def _up(self, pid: int) -> Iterator[_Process]:
        """Yield a process and its ancestors, without the first process of the machine."""
        for _ in range(_MAX_DEPTH):
            process = self._process(pid) if pid > INIT else None
            if process is None:
                return
            yield process
            pid = process.parent

    def _process(self, pid: int) -> _Process | None:
        if pid not in self._read:
            self._read[pid] = _read(self._proc, pid)
        return self._read[pid]


def _may_report(claimant: Claimant, process: _Process) -> bool:
    if claimant.user is None:
        return claimant.pid == process.pid
    return claimant.user in (process.user, _ROOT_USER)


def _read(proc: Path, pid: int) -> _Process | None:
    try:
        descriptor = os.open(proc / str(pid) / "status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _MAX_STATUS_BYTES).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if fields.get("State", "").strip()[:1] in ("Z", "X") or "PPid" not in fields or "Uid" not in fields:
        return None
    inner = tuple(map(int, fields.get("NSpid", "").split()[1:]))
    return _Process(pid, int(fields["PPid"]), int(fields["Uid"].split()[1]), inner)
