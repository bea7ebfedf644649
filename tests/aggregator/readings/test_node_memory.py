"""Node memory: what is known of the nodes outlives the aggregator."""

import asyncio
import json
from pathlib import Path

import pytest

from perwatt_agent.clock import SystemClock
from perwatt_aggregator.readings.node_memory import MAX_NODES, NodeFile, NodeMemory


async def saved(memory: NodeFile, gpus: int) -> None:
    """Run until *gpus* of node n are in the file, or for ten seconds."""
    task = asyncio.create_task(memory.run())
    for _ in range(1000):
        if memory.file.exists() and json.loads(memory.file.read_bytes())["gpus"].get("n") == gpus:
            break
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_in_one_process() -> None:
    """A node that was never read has no number, one without GPUs has 0."""
    memory = NodeMemory()
    memory.add("cpu", 0)

    assert (0, None) == (memory.gpus_of("cpu"), memory.gpus_of("gone"))


async def test_over_a_restart(tmp_path: Path) -> None:
    """The next aggregator has the numbers of the one before, the newest of each node."""
    memory = NodeFile(tmp_path / "data", SystemClock())
    memory.add("n", 8)
    memory.add("n", 7)
    await saved(memory, 7)

    assert 7 == NodeFile(tmp_path / "data", SystemClock()).gpus_of("n")
    assert ["nodes.json"] == [file.name for file in (tmp_path / "data").iterdir()]


async def test_each_change_is_saved(tmp_path: Path) -> None:
    """A change that comes while another one is saved is saved too."""
    memory = NodeFile(tmp_path, SystemClock())
    memory.add("n", 8)
    await saved(memory, 8)
    memory.add("n", 16)
    await saved(memory, 16)

    assert 16 == NodeFile(tmp_path, SystemClock()).gpus_of("n")


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1, "gpus": {"n": -1}}', b'{"version": 1}'])
def test_a_file_that_cannot_be_read(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged file is nothing known; the log names it."""
    (tmp_path / "nodes.json").write_bytes(content)

    assert None is NodeFile(tmp_path, SystemClock()).gpus_of("n")
    assert [f"cannot read {tmp_path}/nodes.json"] == [
        record.getMessage().partition(" (")[0] for record in caplog.records
    ]


def test_a_file_of_another_version(tmp_path: Path) -> None:
    """A file of a later version is not read."""
    (tmp_path / "nodes.json").write_bytes(b'{"version": 2, "gpus": {"n": 8}}')

    assert None is NodeFile(tmp_path, SystemClock()).gpus_of("n")


def test_a_folder_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, with what follows and what to change."""
    (tmp_path / "data").write_text("a file")
    memory = NodeFile(tmp_path / "data", SystemClock())
    caplog.clear()
    memory.save({"n": 8})
    memory.save({"n": 7})

    assert ["make the folder writable or set data_dir"] == [
        record.getMessage().rpartition("; ")[2] for record in caplog.records
    ]


async def test_the_file_is_bounded(tmp_path: Path) -> None:
    """Of more nodes than the file holds, those that changed longest ago are left out."""
    memory = NodeFile(tmp_path, SystemClock())
    for number in range(MAX_NODES):
        memory.add(f"n{number}", 1)
    memory.add("n", 8)
    await saved(memory, 8)
    loaded = NodeFile(tmp_path, SystemClock())

    assert (None, 1, 8) == (loaded.gpus_of("n0"), loaded.gpus_of("n1"), loaded.gpus_of("n"))
