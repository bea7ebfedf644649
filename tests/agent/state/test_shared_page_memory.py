"""Memory of pages that are configured twice: it outlives a restart, and shows no URL."""

import logging
from pathlib import Path

import pytest

from perwatt_agent.state.shared_page_memory import SharedPageMemory

A, B, C = "http://a/metrics?token=secret", "http://b/metrics", "http://c/metrics"
PAIRS = frozenset((frozenset((A, B)),))


def test_round_trip(tmp_path: Path) -> None:
    """What was saved is loaded by the next agent, in any order of URLs, also into a new folder."""
    SharedPageMemory(tmp_path / "a" / "b").save(PAIRS)

    assert PAIRS == SharedPageMemory(tmp_path / "a" / "b").load((C, B, A))


def test_forgotten(tmp_path: Path) -> None:
    """Pairs that are no longer saved are gone."""
    memory = SharedPageMemory(tmp_path)
    memory.save(PAIRS)
    memory.save(frozenset())

    assert frozenset() == memory.load((A, B))


@pytest.mark.parametrize("urls", [(), (A,), (A, A), (A, C)])
def test_not_configured(tmp_path: Path, urls: tuple[str, ...]) -> None:
    """A pair of which one URL is not configured any more does not count."""
    memory = SharedPageMemory(tmp_path)
    memory.save(PAIRS)

    assert frozenset() == memory.load(urls)


def test_no_secret(tmp_path: Path) -> None:
    """A token in a URL is not written."""
    memory = SharedPageMemory(tmp_path)
    memory.save(PAIRS)

    assert b"secret" not in memory.file.read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version": 1}', b"\xff\xfe", b'{"version": 9, "pairs": []}']
)
def test_rubbish(tmp_path: Path, content: bytes) -> None:
    """A file that cannot be read is as none."""
    memory = SharedPageMemory(tmp_path)
    memory.file.write_bytes(content)

    assert frozenset() == memory.load((A, B))


def test_not_writable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be written is logged, with the setting to change."""
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        SharedPageMemory(tmp_path / "file").save(PAIRS)

    assert ["set data_dir"] == [record.getMessage()[-12:] for record in caplog.records]
