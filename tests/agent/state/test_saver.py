"""Saving: before a cycle is published, off the loop where the disk may hang, and never what is old."""

import asyncio
import logging
import threading
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gpus.devices import PATIENCE_SECONDS

from perwatt_agent.accounting.account import AccountState
from perwatt_agent.accounting.attribution import AttributionState
from perwatt_agent.clock import SystemClock
from perwatt_agent.state.saver import Saver, is_in_memory
from perwatt_agent.state.slots import Slots
from perwatt_agent.state.state_file import StateFile


def account(watts: float) -> AccountState:
    """A state that can be told by its number."""
    return AccountState({}, AttributionState({}, {}), {"GPU-0": watts})


class HungFile(StateFile):
    """A state file whose disk hangs until it is released."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "boot")
        self.released = threading.Event()
        self.writes = 0

    def write(self, content: bytes) -> None:
        self.writes += 1
        self.released.wait(PATIENCE_SECONDS)
        super().write(content)


@pytest.mark.parametrize("in_memory", [True, False])
async def test_saved_on_return(tmp_path: Path, in_memory: bool) -> None:
    """What was saved is on disk before the cycle is published."""
    saver = Saver(StateFile(tmp_path, "boot"), SystemClock(), in_memory=in_memory)
    for watts in (1.0, 2.0):
        await saver.save(partial(account, watts))

        assert account(watts) == StateFile(tmp_path, "boot").load()


async def test_a_hung_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It delays one cycle, is logged once with the setting to change, and the newest state follows."""
    file = HungFile(tmp_path)
    saver = Saver(file, SystemClock(), in_memory=False)
    with caplog.at_level(logging.WARNING):
        for watts in (1.0, 2.0, 3.0):
            await asyncio.wait_for(saver.save(partial(account, watts)), PATIENCE_SECONDS)
    assert (1, None) == (file.writes, StateFile(tmp_path, "boot").load())
    assert 1 == sum("set state_dir" in message for message in caplog.messages)

    file.released.set()
    while account(4.0) != StateFile(tmp_path, "boot").load():
        await saver.save(lambda: account(4.0))
        await asyncio.sleep(0.01)


async def test_a_save_that_fails_removes_what_is_old(tmp_path: Path) -> None:
    """Old counters would go back and count twice: there is no state rather than an old one."""
    file = StateFile(tmp_path, "boot")
    file.save(account(1.0))
    (tmp_path / "state.0").unlink(missing_ok=True)
    (tmp_path / "state.0").mkdir()
    (tmp_path / "state.0" / "in the way").write_text("")
    fresh = StateFile(tmp_path, "boot")
    fresh.load()
    fresh.save(account(2.0))
    fresh.save(account(3.0))

    assert StateFile(tmp_path, "boot").load() in (None, account(3.0))


class FailingFile(StateFile):
    """A state file whose disk has room, or has none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "boot")
        self._slots = self._failing = FailingSlots(folder, "state")

    def set_full(self, *, is_full: bool) -> None:
        self._failing.is_full = is_full


class FailingSlots(Slots):
    is_full = False

    def write(self, content: bytes) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().write(content)


@given(st.lists(st.sampled_from(["room", "full", "kill"]), max_size=12))
async def test_any_schedule_of_writes(steps: list[str]) -> None:
    """After any kill, what is loaded is what the last page showed, or nothing: counters never go back."""
    with TemporaryDirectory() as name:
        file, shown = FailingFile(Path(name)), None
        for watts, step in enumerate([*steps, "kill"], 1):
            if step == "kill":
                file = FailingFile(Path(name))
                loaded = file.load()
                assert loaded in (shown, None)
                shown = loaded
                continue
            file.set_full(is_full=step == "full")
            shown = account(float(watts))
            await Saver(file, SystemClock(), in_memory=True).save(partial(account, float(watts)))
            assert step == "full" or shown == StateFile(Path(name), "boot").load()


def test_which_folders_are_in_memory(tmp_path: Path) -> None:
    """By the mount table: tmpfs is, a disk is not, and what nobody knows is not."""
    device = tmp_path.stat().st_dev
    line = f"1 2 {device >> 8 & 0xFFF}:{device & 0xFF} / /run rw,nosuid shared:5 - "
    table = tmp_path / "mountinfo"
    found = []
    for kind in ("tmpfs", "ext4", ""):
        table.write_text(f"9 9 0:999 / / rw - tmpfs none rw\n{line}{kind} none rw\n" if kind else "rubbish\n")
        found.append(is_in_memory(tmp_path / "not" / "yet", table))

    assert [True, False, False] == found
    assert not is_in_memory(tmp_path, tmp_path / "missing")
