"""Saver of the account: off the loop, unless the folder is in memory, where a write cannot hang."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from perwatt_agent.accounting.account import AccountState
from perwatt_agent.clock import Clock
from perwatt_agent.state.state_file import StateFile
from perwatt_agent.threads.worker import WorkerThread

logger = logging.getLogger(__name__)

MAX_SAVE_SECONDS = 0.5
"""A cycle is published without being saved if its save takes longer."""
_IN_MEMORY = frozenset(("tmpfs", "ramfs"))
_MOUNTS = Path("/proc/self/mountinfo")


class Saver:
    """
    Saves the account once a cycle, before the cycle is published.

    What a page has shown must survive a crash of the agent, so a cycle waits for its save; but a disk that
    hangs delays it once, and then no cycle until the save is over.
    """

    def __init__(self, file: StateFile, clock: Clock, *, in_memory: bool) -> None:
        self._file = file
        self._worker = None if in_memory else WorkerThread("state", clock)
        self._saving: asyncio.Future[None] | None = None
        self._is_late = False

    async def save(self, state: Callable[[], AccountState]) -> None:
        """Save what *state* returns; return when it is saved, or has taken too long."""
        if self._worker is None:
            self._file.save(state())
            return
        if self._saving is not None and not self._saving.done():
            return
        content = self._file.encode(state())
        self._saving = self._worker.submit(lambda: self._file.write(content))
        await asyncio.wait([self._saving], timeout=MAX_SAVE_SECONDS)
        self._report(is_late=not self._saving.done())

    def _report(self, *, is_late: bool) -> None:
        if is_late and not self._is_late:
            logger.warning(
                "saving the state takes more than %g s: after a crash of the agent, workload energy would "
                "count twice; set state_dir to a folder in memory, such as /run/perwatt",
                MAX_SAVE_SECONDS,
            )
        self._is_late = is_late


def is_in_memory(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether *folder*, or the nearest parent that exists, lies on a file system in memory."""
    existing = next((one for one in (folder, *folder.parents) if one.exists()), None)
    if existing is None:
        return False
    device = existing.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in mounts.read_text().splitlines():
            before, _, after = line.partition(" - ")
            if name in before.split()[2:3]:
                return not _IN_MEMORY.isdisjoint(after.split()[:1])
    return False
