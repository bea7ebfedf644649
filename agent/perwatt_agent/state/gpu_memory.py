"""GPU memory: the GPUs of this machine by UUID, in a file that outlives a reboot."""

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perwatt_agent.facts.gpu import GpuInfo

logger = logging.getLogger(__name__)

_VERSION = 1
_NAME = "gpus.json"


class _File(msgspec.Struct):
    version: int
    gpus: tuple[GpuInfo, ...]


class GpuMemory:
    """
    Loads and saves the GPUs that were seen, so that one that is missing after a reboot is noticed.

    A folder that cannot be written costs that notice, never the agent; it is logged once.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / _NAME
        self._saved: tuple[GpuInfo, ...] | None = None
        self._is_writable = True

    def load(self) -> tuple[GpuInfo, ...]:
        """The GPUs that were saved last; none where there is no file, or none that can be read."""
        try:
            file = msgspec.json.decode(self.file.read_bytes(), type=_File)
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("cannot read %s (%s): delete it, or make it readable", self.file, error)
            return ()
        if file.version != _VERSION:
            return ()
        self._saved = file.gpus
        return file.gpus

    def save(self, gpus: Sequence[GpuInfo]) -> None:
        """Keep *gpus* where they differ from what is kept. A crash leaves the old file or the new one."""
        if tuple(gpus) == self._saved:
            return
        self._saved = tuple(gpus)
        part = self.file.with_suffix(".part")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(_File(_VERSION, self._saved)))
            part.replace(self.file)
        except OSError as error:
            if self._is_writable:
                logger.warning(
                    "a GPU that is missing after a restart will not be noticed: cannot write %s (%s); "
                    "make the folder writable or set data_dir",
                    self.file,
                    error.strerror,
                )
            self._is_writable = False
        else:
            self._is_writable = True
