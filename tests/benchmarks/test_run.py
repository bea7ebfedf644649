"""The benchmarks can be started."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_every_part_is_imported() -> None:
    """What the benchmarks import is there: a renaming that forgets them fails here, not in an hour's run."""
    command = [sys.executable, ROOT / "benchmarks" / "run.py", "--help"]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)

    assert (0, "") == (result.returncode, result.stderr)
    for part in (ROOT / "benchmarks" / "parts").glob("[!_]*.py"):
        assert part.stem in result.stdout


def test_every_work_can_be_done() -> None:
    """Every part of a second's work is timed; one that cannot be done is missing and named."""
    command = [sys.executable, ROOT / "benchmarks" / "works.py", "--repeats", "1"]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)

    assert (0, "") == (result.returncode, result.stderr)
