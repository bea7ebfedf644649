"""
Compare two commits of perwatt, work by work: CPU times in turns, and instructions.

    compare.py A B [--rounds N]

Each commit is laid into a folder of its own, its benchmarks and tests included, and its own `works.py` is run
there: a commit before a renaming can be compared with one after it. Works are matched by name; what one of
the two commits cannot do is left out. Both run in this checkout's virtual environment.
"""

# ruff: noqa: E402 - the imports need the path that is added first

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.tools.harness import PACKAGES, median, spread
from benchmarks.tools.report import table
from benchmarks.tools.run_works import available, instructions, times

FOLDERS = (*PACKAGES, "benchmarks", "tests")
WORKS = Path("benchmarks") / "works.py"
REPEATS = 3


class Checkout(NamedTuple):
    """One commit in a folder: its works, and the environment in which its own packages are imported."""

    works: Path
    environment: Mapping[str, str]

    def times(self) -> dict[str, list[float]]:
        return times(REPEATS, self.works, self.environment)

    def instructions(self) -> dict[str, float]:
        return instructions(self.works, self.environment) if available() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two commits, work by work.")
    parser.add_argument("a", help="the commit before")
    parser.add_argument("b", help="the commit after")
    parser.add_argument("--rounds", type=int, default=5, help="how often both are timed, in turns")
    arguments = parser.parse_args()
    if not available():
        print("valgrind is not installed, so instructions are not counted: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        before = checkout(arguments.a, Path(folder) / "a")
        after = checkout(arguments.b, Path(folder) / "b")
        rounds = [(before.times(), after.times()) for _ in range(arguments.rounds)]
        counts = before.instructions(), after.instructions()
    print(report(arguments.a, arguments.b, rounds, counts))


def checkout(commit: str, folder: Path) -> Checkout:
    """Lay a commit into *folder*. Raises SystemExit if the commit has no works."""
    folder.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", commit, *FOLDERS], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    works = folder / WORKS
    if not works.exists():
        raise SystemExit(f"{commit} has no {WORKS}: it cannot be compared")
    path = os.pathsep.join(str(folder / package) for package in PACKAGES)
    return Checkout(works, {**os.environ, "PYTHONPATH": path})


Round = tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[float]]]
Counts = tuple[Mapping[str, float], Mapping[str, float]]


def report(a: str, b: str, rounds: Sequence[Round], counts: Counts) -> str:
    """A table of the works that both commits can do; instructions in thousands."""
    rows = []
    for name in sorted(rounds[0][0].keys() & rounds[0][1].keys()):
        pairs = [(median(one[name]), median(other[name])) for one, other in rounds]
        before, after = (f"{1e3 * median(side):.3f}" for side in zip(*pairs, strict=True))
        ratio = spread([other / one for one, other in pairs], 1.0, 3)
        rows.append((name, before, after, ratio, *_counts(counts[0].get(name), counts[1].get(name))))
    times = (f"{a}, ms", f"{b}, ms", f"{b} / {a}")
    counted = (f"{a}, 1000 instructions", f"{b}, 1000 instructions", f"{b} / {a}")
    return table(("Work", *times, *counted), rows)


def _counts(before: float | None, after: float | None) -> tuple[str, str, str]:
    if not before or not after:
        return "-", "-", "-"
    return f"{before / 1e3:.0f}", f"{after / 1e3:.0f}", f"{after / before:.3f}"


if __name__ == "__main__":
    main()
