"""Visibility of the processes on the GPUs: what hides them from this process, and what to change."""

import logging
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from perwatt_agent.facts.gpu_reading import GpuReading, GpuSlowReading

logger = logging.getLogger(__name__)

# PROC_PID_INIT_INO of Linux: the namespace in which the machine itself starts.
_FIRST_NAMESPACE = "pid:[4026531836]"
# Less memory than this in use belongs to the driver itself.
_MIN_MEMORY_RATIO = 0.05


class Obstacle(Struct, frozen=True):
    """What hides processes, and what to change. `hides_lists` says that the driver omits them too."""

    detail: str
    fix: str
    hides_lists: bool = False


HIDEPID = Obstacle(
    "/proc is mounted with hidepid, which hides the processes of other users",
    "run perwatt as root or with CAP_SYS_PTRACE, or mount /proc with gid= of a group that perwatt is in; in "
    "a systemd unit, remove ProtectProc=",
)
NAMESPACE = Obstacle(
    "perwatt runs in a PID namespace of its own, which has no processes of other containers or of the host",
    "give its container the host's: `docker run --pid=host`, or `hostPID: true` in the pod",
    hides_lists=True,
)


def obstacle(proc: Path) -> Obstacle | None:
    """Return what hides processes from this one; None if nothing is known to."""
    try:
        if str((proc / "self/ns/pid").readlink()) != _FIRST_NAMESPACE:
            return NAMESPACE
    except OSError:
        pass
    # Process 1 is always there, and nearly always root's: who sees it is exempt from hidepid.
    is_hiding = (proc / "self").exists() and not _is_readable(proc / "1/stat")
    return HIDEPID if is_hiding else None


def is_unlisted(reading: GpuReading | None, slow: GpuSlowReading | None) -> bool:
    """Return whether a GPU is in use although the driver lists no process on it."""
    if reading is None or slow is None or slow.processes != ():
        return False
    used, total = reading.memory_used_bytes, reading.memory_total_bytes
    is_filled = used is not None and total is not None and used > _MIN_MEMORY_RATIO * total
    return is_filled or bool(reading.utilization_ratio)


def _is_readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


class VisibilityLog:
    """
    Logs once that processes on the GPUs are hidden.

    A process counts if it is missing in two rounds, because one that has just ended is still listed.
    """

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._before = frozenset[int | str]()
        self._has_warned = False

    def update(self, unseen: Iterable[int], unlisted: Iterable[str]) -> None:
        """Take the listed processes that /proc does not show, and the GPUs in use without any process."""
        now = frozenset[int | str]((*unseen, *unlisted))
        lasting, self._before = now & self._before, now
        if self._has_warned or not lasting:
            return
        found = obstacle(self._proc)
        if found is None or not (found.hides_lists or any(isinstance(one, int) for one in lasting)):
            return
        self._has_warned = True
        logger.warning(
            "cannot see the processes on the GPUs, so their engines are not discovered and their energy is "
            "unknown: %s; %s",
            found.detail,
            found.fix,
        )
