"""What the agent remembers over its own restarts, in one small file that dies with the machine's boot."""

import logging
from pathlib import Path

import msgspec

from perwatt_agent.accounting.account import AccountState

logger = logging.getLogger(__name__)

_VERSION = 2
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _File(msgspec.Struct):
    version: int
    boot_id: str
    account: AccountState


class StateFile:
    """
    Load and save the account's state.

    Monotonic times in it mean something within one boot only, so a file of another boot is ignored. A
    folder that cannot be written costs the memory, never the agent: that is logged once, and tried
    again with each save, as memory that has grown old would be worse than none.
    """

    def __init__(self, folder: Path, boot_id: str | None = None) -> None:
        self._path = folder / "state.json"
        self._partial = folder / "state.part"
        self._boot_id = _read_boot_id() if boot_id is None else boot_id
        self._encoder = msgspec.json.Encoder()
        self._saves = True

    def load(self) -> AccountState | None:
        try:
            content = self._path.read_bytes()
            file = msgspec.json.decode(content, type=_File)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            logger.warning("starting without memory: %s cannot be read (%s); delete it", self._path, error)
            return None
        if file.version != _VERSION or not self._boot_id or file.boot_id != self._boot_id:
            return None
        return file.account

    def save(self, account: AccountState) -> None:
        """Replace the file as a whole, so that a crash leaves the old or the new one, never a part."""
        content = self._encoder.encode(_File(_VERSION, self._boot_id, account))
        try:
            self._replace(content)
        except OSError as error:
            if self._saves:
                logger.warning(
                    "workload energy will restart at 0 with the agent: cannot write %s (%s); "
                    "make the folder writable or set state_dir",
                    self._path,
                    error.strerror,
                )
            self._saves = False
        else:
            self._saves = True

    def _replace(self, content: bytes) -> None:
        try:
            self._partial.write_bytes(content)
        except FileNotFoundError:  # no folder yet, or no more
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.write_bytes(content)
        self._partial.replace(self._path)


def _read_boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
