"""State file: the account over restarts of the agent, valid until the machine reboots."""

import logging
from pathlib import Path

import msgspec

from perwatt_agent.accounting.account import AccountState
from perwatt_agent.state.slots import Damaged, Slots

logger = logging.getLogger(__name__)

_VERSION = 2
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _File(msgspec.Struct):
    version: int
    boot_id: str
    account: AccountState


class StateFile:
    """
    Loads and saves the account's state.

    Its monotonic times are valid within one boot only, so a file of another boot is ignored. When the folder
    cannot be written, the agent goes on without saved state: this is logged once, and each save tries again.
    """

    def __init__(self, folder: Path, boot_id: str | None = None) -> None:
        self._folder = folder
        self._slots = Slots(folder, "state")
        self._boot_id = _read_boot_id() if boot_id is None else boot_id
        self._encoder = msgspec.json.Encoder()
        self._saves = True

    def load(self) -> AccountState | None:
        try:
            content = self._slots.read()
            if content is None:
                return None
            file = msgspec.json.decode(content, type=_File)
        except (OSError, Damaged, msgspec.MsgspecError) as error:
            logger.warning(
                "starting without saved state: cannot read the state in %s (%s); delete it",
                self._folder,
                error,
            )
            return None
        if file.version != _VERSION or not self._boot_id or file.boot_id != self._boot_id:
            return None
        return file.account

    def save(self, account: AccountState) -> None:
        """Save it; a crash leaves the old state or the new one, never a part."""
        self.write(self.encode(account))

    def encode(self, account: AccountState) -> bytes:
        """The content of the file."""
        return self._encoder.encode(_File(_VERSION, self._boot_id, account))

    def write(self, content: bytes) -> None:
        """
        Write the content of the file.

        If that fails, the state of before is removed: pages go on, so that after a restart its counters would
        go back, and be counted again.
        """
        try:
            self._slots.write(content)
        except OSError as error:
            self._slots.remove()
            if self._saves:
                logger.warning(
                    "workload energy will restart at 0 with the agent: cannot write %s (%s); "
                    "make the folder writable or set state_dir",
                    self._folder,
                    error.strerror,
                )
            self._saves = False
        else:
            self._saves = True


def _read_boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
