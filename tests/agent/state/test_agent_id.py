"""The agent's id: it stays over restarts and reboots, and is never one that changes."""

import logging
from pathlib import Path

import pytest

from perwatt_agent.state.agent_id import load_agent_id


def test_stays(tmp_path: Path) -> None:
    """Each restart has the id of before; another machine has another."""
    first = load_agent_id(tmp_path / "a" / "b")

    assert (16, first) == (len(first), load_agent_id(tmp_path / "a" / "b"))
    assert first != load_agent_id(tmp_path / "c")


@pytest.mark.parametrize("content", [b"", b"not an id", b"\xff\xfe", b"0123456789ABCDEF\n", b"0" * 4096])
def test_rubbish_is_replaced_or_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no id never becomes one."""
    (tmp_path / "agent_id").write_bytes(content)

    assert load_agent_id(tmp_path).encode() != content.strip()


def test_not_writable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be kept there is none, and the log says which setting to change."""
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        assert "" == load_agent_id(tmp_path / "file")

    assert ["set data_dir"] == [message[-12:] for message in caplog.messages]
