"""Memory of GPUs: it outlives a reboot, and costs nothing but itself where it cannot be written."""

import logging
from pathlib import Path

import pytest

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.state.gpu_memory import GpuMemory

GPUS = (GpuInfo("GPU-a", 0, "H200", "0000:01:00.0"), GpuInfo("GPU-b", 1, "H200"))


def test_round_trip(tmp_path: Path) -> None:
    """What was saved is loaded by the next agent, also into a folder that is not there yet."""
    GpuMemory(tmp_path / "a" / "b").save(GPUS)

    assert GPUS == GpuMemory(tmp_path / "a" / "b").load()


def test_nothing_yet(tmp_path: Path) -> None:
    """A new machine has no memory, and no warning."""
    assert () == GpuMemory(tmp_path).load()


def test_saved_once(tmp_path: Path) -> None:
    """The file is written only when something has changed."""
    memory = GpuMemory(tmp_path)
    memory.save(GPUS)
    memory.file.unlink()
    memory.save(GPUS)

    assert not memory.file.exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"version": 1}', b"\xff\xfe", b'{"version": 9, "gpus": []}']
)
def test_rubbish(tmp_path: Path, content: bytes) -> None:
    """A file that cannot be read is as none."""
    memory = GpuMemory(tmp_path)
    memory.file.write_bytes(content)

    assert () == memory.load()


def test_not_writable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be written is logged once, with the setting to change."""
    (tmp_path / "file").write_text("")
    memory = GpuMemory(tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            memory.save(GPUS[: number + 1])

    assert ["set data_dir"] == [record.getMessage()[-12:] for record in caplog.records]
