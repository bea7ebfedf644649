"""The account's memory survives the agent, never the boot, and never hurts when it is damaged."""

import logging
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.accounts.node import Engine, Node

from perwatt_agent.accounting.account import Account, AccountState
from perwatt_agent.accounting.attribution import AttributionState
from perwatt_agent.state.slots import Slots
from perwatt_agent.state.state_file import StateFile


def account_after(seconds: int) -> Account:
    node = Node(2, [Engine("a", gpus=(0, 1))])
    account = Account(1.0)
    for _ in range(seconds):
        account.advance(node.sweep())
    return account


@pytest.fixture
def state() -> AccountState:
    return account_after(12).state()


def test_round_trip(tmp_path: Path, state: AccountState) -> None:
    """What was saved last is what the next agent of the same boot loads."""
    file = StateFile(tmp_path, "boot-1")
    file.save(account_after(3).state())
    file.save(state)

    assert state == StateFile(tmp_path, "boot-1").load()
    assert ["state.0", "state.1"] == sorted(path.name for path in tmp_path.iterdir())


def test_nothing_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first agent has no memory, which is nothing to warn of."""
    assert StateFile(tmp_path, "boot-1").load() is None
    assert StateFile(tmp_path / "missing", "boot-1").load() is None
    assert [] == caplog.records


@pytest.mark.parametrize("boot_ids", [("boot-1", "boot-2"), ("", "")])
def test_other_boot(tmp_path: Path, state: AccountState, boot_ids: tuple[str, str]) -> None:
    """Memory of another boot, or of one that nobody can name, is none: its clock meant something else."""
    saved, loaded = boot_ids
    StateFile(tmp_path, saved).save(state)

    assert StateFile(tmp_path, loaded).load() is None


def test_real_boot_id(tmp_path: Path, state: AccountState) -> None:
    """By default the boot is this machine's."""
    StateFile(tmp_path).save(state)

    assert state == StateFile(tmp_path).load()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"\xff\xfe\x00", id="bytes"),
        pytest.param(lambda content: b"{}", id="foreign"),
        pytest.param(lambda content: content.replace(b'"accepted_joules"', b'"accepted_joulez"'), id="bits"),
        pytest.param(lambda content: content.replace(b" ", b" 1", 1), id="number"),
    ],
)
def test_damaged(
    tmp_path: Path, state: AccountState, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Files that are both damaged are said to be so, once, and the agent starts without memory."""
    file = StateFile(tmp_path, "boot-1")
    file.save(state)
    file.save(state)
    for path in tmp_path.iterdir():
        path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]

    assert StateFile(tmp_path, "boot-1").load() is None
    (record,) = caplog.records
    assert (logging.WARNING, True) == (record.levelno, str(tmp_path) in record.getMessage())


def test_other_version(tmp_path: Path, state: AccountState) -> None:
    """Memory in another version's form is ignored, and overwritten."""
    Slots(tmp_path, "state").write(b'{"version":1,"boot_id":"boot-1","account":{"gpus":{}}}')

    file = StateFile(tmp_path, "boot-1")
    assert file.load() is None
    file.save(state)
    assert state == StateFile(tmp_path, "boot-1").load()


def test_other_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is whole but no memory is said to be so."""
    Slots(tmp_path, "state").write(b'{"version":"one"}')

    assert StateFile(tmp_path, "boot-1").load() is None
    assert "delete it" in caplog.text


def test_folder_that_cannot_be_written(
    tmp_path: Path, state: AccountState, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs a warning, not the agent; once it can be written, it is made and there is memory."""
    folder = tmp_path / "in the way" / "state"
    folder.parent.write_text("a file where the folder should be")
    file = StateFile(folder, "boot-1")
    for _ in range(3):
        file.save(state)
    assert 1 == len(caplog.records)
    assert "state_dir" in caplog.text

    folder.parent.unlink()
    file.save(state)
    assert state == StateFile(folder, "boot-1").load()


@contextmanager
def full_disk() -> Iterator[None]:
    """The kernel takes a few bytes of each file more, then no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(tmp_path: Path, state: AccountState, caplog: pytest.LogCaptureFixture) -> None:
    """
    A write that breaks off costs a warning, once, and the memory of before: pages went on, so that counters
    that go back to it would be counted twice.
    """
    file = StateFile(tmp_path, "boot-1")
    file.save(state)
    later = account_after(20).state()
    with full_disk():
        for _ in range(3):
            file.save(later)
    assert 1 == len(caplog.records)
    assert StateFile(tmp_path, "boot-1").load() is None

    file.save(later)
    assert later == StateFile(tmp_path, "boot-1").load()


@pytest.mark.parametrize("saves", [1, 2, 3])
def test_crash_while_saving(tmp_path: Path, state: AccountState, saves: int) -> None:
    """What an agent wrote in part is never loaded: what it had written before that still is."""
    file = StateFile(tmp_path, "boot-1")
    for _ in range(saves):
        file.save(state)
    slots = Slots(tmp_path, "state")
    slots.read()
    with full_disk(), pytest.raises(OSError):
        slots.write(file.encode(account_after(20).state()))

    later = StateFile(tmp_path, "boot-1")
    assert state == later.load()
    later.save(account_after(21).state())
    assert account_after(21).state() == StateFile(tmp_path, "boot-1").load()


def test_shorter_than_before(tmp_path: Path, state: AccountState) -> None:
    """What is left of a longer memory behind a shorter one is none of it."""
    file = StateFile(tmp_path, "boot-1")
    for _ in range(2):
        file.save(state)
    shorter = AccountState({}, AttributionState({}, {}))
    file.save(shorter)

    assert shorter == StateFile(tmp_path, "boot-1").load()


def test_deleted_meanwhile(tmp_path: Path, state: AccountState) -> None:
    """Whoever clears the folder of a running agent costs it nothing: the next saves are found again."""
    file = StateFile(tmp_path / "state", "boot-1")
    for _ in range(2):
        file.save(state)
    shutil.rmtree(tmp_path / "state")
    file.save(state)

    assert state == StateFile(tmp_path / "state", "boot-1").load()
