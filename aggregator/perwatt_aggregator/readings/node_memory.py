"""Node memory: how many GPUs each node had, also in a file that outlives the aggregator."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from perwatt_agent.clock import Clock
from perwatt_agent.threads.worker import WorkerThread

logger = logging.getLogger(__name__)

MAX_NODES = 10_000
"""In the file, nodes that are no longer configured included; those that changed longest ago are dropped."""
_SAVE_SECONDS = 1.0
_VERSION = 1
_NAME = "nodes.json"


class _File(Struct):
    version: int
    gpus: dict[str, Annotated[int, Meta(ge=0)]]


class NodeMemory:
    """How many GPUs each node had, in this process alone. A node that was never read is not in it."""

    def __init__(self) -> None:
        self._gpus: dict[str, int] = {}

    def gpus_of(self, node: str) -> int | None:
        """How many GPUs *node* had when it was last read; None if that was never read."""
        return self._gpus.get(node)

    def add(self, node: str, gpus: int) -> None:
        """Set how many GPUs *node* has."""
        if self._gpus.get(node) != gpus:
            # The newest change comes last.
            self._gpus.pop(node, None)
            self._gpus[node] = gpus
            self._on_change()

    async def run(self) -> None:
        """Save each change, until cancelled; here there is nowhere to save it."""

    def _on_change(self) -> None:
        """Nothing is saved."""


class NodeFile(NodeMemory):
    """
    Node memory in a file: it is loaded at once, and saved by a thread of its own, so that a folder that hangs
    blocks nothing else.

    A folder that cannot be written costs validity after a restart, never an answer; it is logged once.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__()
        self.file = folder / _NAME
        self._clock = clock
        self._changed = asyncio.Event()
        self._is_writable = True
        self._gpus = self._load()

    async def run(self) -> None:
        """Save each change, until cancelled; several within a second are saved together."""
        thread = WorkerThread("save nodes", self._clock)
        while True:
            await self._changed.wait()
            self._changed.clear()
            gpus = dict(list(self._gpus.items())[-MAX_NODES:])
            await thread.submit(lambda gpus=gpus: self.save(gpus))  # type: ignore[misc]
            await self._clock.sleep_until(self._clock.monotonic() + _SAVE_SECONDS)

    def save(self, gpus: dict[str, int]) -> None:
        """Write *gpus*. A crash leaves the old file or the new one."""
        part = self.file.with_suffix(".part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(_File(_VERSION, gpus)))
            part.replace(self.file)
        except OSError as error:
            if self._is_writable:
                logger.warning(
                    "after a restart, figures of the fleet will not be valid while a node does not answer: "
                    "cannot write %s (%s); make the folder writable or set data_dir",
                    self.file,
                    error.strerror,
                )
            self._is_writable = False
        else:
            self._is_writable = True

    def _on_change(self) -> None:
        self._changed.set()

    def _load(self) -> dict[str, int]:
        """The saved numbers; none if there is no file, or none that can be read."""
        try:
            file = msgspec.json.decode(self.file.read_bytes(), type=_File)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("cannot read %s (%s): delete it, or make it readable", self.file, error)
            return {}
        return file.gpus if file.version == _VERSION else {}
