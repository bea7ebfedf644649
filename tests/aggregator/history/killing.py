"""
A writer of ticks is killed at random instants; what it had kept must be there, whole.

`killing.py TIMES` kills it so many times.
"""

# ruff: noqa: E402 - the imports need the path that is added first

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2])]

from perwatt_aggregator.history.reader import HistoryQuery, HistoryReader
from perwatt_aggregator.history.values import PLACE

ROOT = Path(__file__).parents[3]
START = 1_800_000_000
OWNERS = 400
JOULES = 15.0


def killed(path: Path, times: int, seed: int) -> int:
    """Start a writer and kill it, *times*; each time check the file. Return how many ticks were kept."""
    chance = random.Random(seed)
    expected: list[int] = []
    for _ in range(times):
        expected += _run(path, START + 15 * len(expected), chance)
        kept = _kept(path)
        # At most the tick in flight was kept and not printed any more.
        assert kept[: len(expected)] == expected, "a tick that was kept is gone"
        assert len(kept) <= len(expected) + 1
        _check(path, len(kept))
        expected = kept
    return len(expected)


def _run(path: Path, start: int, chance: random.Random) -> list[int]:
    """The ticks that a writer said it kept until it was killed."""
    environ = dict(os.environ, PYTHONPATH=str(ROOT / "tests"))
    command = [sys.executable, "-m", "support.history.writer", str(path), str(start)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(chance.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    # The last line may be cut.
    return [int(line) for line in lines if line.endswith("\n")]


def _kept(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    try:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
        return [
            start
            for (start,) in connection.execute(
                "SELECT start FROM ticks WHERE seconds = 15 AND kind = 0 ORDER BY start"
            )
        ]
    finally:
        connection.close()


def _check(path: Path, ticks: int) -> None:
    """Every resolution, and the sums by model, have the joules of all ticks."""
    reader = HistoryReader(path)
    for by in ((), ("node",)):
        for step in (15, 900):
            query = HistoryQuery(START, START + (15 * ticks + step - 1) // step * step, step, by)
            found = reader.sums(query)
            joules = sum(one.values[PLACE["node"]] for group in found.groups for one in group.steps.values())
            assert joules == ticks * OWNERS * JOULES, (by, step)
    reader.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        ticks = killed(Path(folder) / "history.db", times=int(sys.argv[1]), seed=time.time_ns())
    print(f"killed {sys.argv[1]} times: all of {ticks} ticks are kept")
