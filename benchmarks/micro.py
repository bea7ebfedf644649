"""
The parts of one second's work, one by one, beside the figures that were stored with the code.

    micro.py --store    measure, and store the figures as the new baseline
"""

# ruff: noqa: E402 - the imports need the path that is added first

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from exporters import Exporter
from harness import Plan, median, spread
from instructions import available, instructions
from report import Section, table

REPEATS = 15
BASELINE = HERE / "baseline.json"


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """Times of a fresh process on warm caches; the least of the repeats is the least disturbed one."""
    stored = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    seconds = times(REPEATS)
    counted = instructions() if available() else {}
    rows = [
        (name, spread(took, 1e3, 3), f"{1e3 * min(took):.3f}", *_counts(counted.get(name), stored.get(name)))
        for name, took in seconds.items()
    ]
    text = (
        f"CPU time, the median of {REPEATS} repeats and the least; and instructions, by callgrind"
        + ("" if available() else " (valgrind is not installed: not counted)")
        + ", with their ratio to those of `baseline.json`. `make bench-compare A=COMMIT B=COMMIT` holds two "
        "commits against each other.\n\n"
    )
    head = ("Work", "ms", "least, ms", "1000 instructions", "/ baseline")
    return Section("Part by part", text + table(head, rows))


def times(repeats: int, environment: Mapping[str, str] = os.environ) -> dict[str, list[float]]:
    """CPU seconds of each work, repeat by repeat, in a fresh process."""
    command = [sys.executable, str(HERE / "works.py"), "--repeats", str(repeats)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _counts(counted: float | None, stored: Mapping[str, float] | None) -> tuple[str, str]:
    if counted is None:
        return "-", "-"
    before = stored.get("instructions") if stored else None
    return f"{counted / 1e3:.0f}", f"{counted / before:.3f}" if before else "-"


def store() -> None:
    """Write what this code takes now."""
    counted = instructions() if available() else {}
    figures = {
        name: {"seconds": round(median(took), 7), "instructions": counted.get(name)}
        for name, took in times(REPEATS).items()
    }
    BASELINE.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    store()
