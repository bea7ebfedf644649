"""
Hold two commits of perwatt against each other: the works of `works.py`, in turns, and their instructions.

    compare.py A B [--rounds N]

Each commit's packages are laid into a temporary folder, and measured by this checkout's benchmarks; the
checkout itself is not touched. What one of them cannot do is left out.
"""

# ruff: noqa: E402 - the imports need the path that is added first

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from harness import median, spread
from instructions import available, instructions
from micro import times
from report import table

PACKAGES = ("agent", "exporter", "aggregator", "cli")
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold two commits against each other.")
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            laid_out(commit, Path(folder) / side) for side, commit in (("a", arguments.a), ("b", arguments.b))
        )
        rounds = [(times(REPEATS, first), times(REPEATS, second)) for _ in range(arguments.rounds)]
        counts = (instructions(first), instructions(second)) if available() else ({}, {})
    rows = []
    for name in rounds[0][0].keys() & rounds[0][1].keys():
        pairs = [(median(one[name]), median(other[name])) for one, other in rounds]
        ratio = spread([other / one for one, other in pairs], 1.0, 3)
        before, after = (f"{1e3 * median(side):.3f}" for side in zip(*pairs, strict=True))
        rows.append((name, before, after, ratio, _ratio(counts[0].get(name), counts[1].get(name))))
    a, b = arguments.a, arguments.b
    print(table(("Work", f"{a}, ms", f"{b}, ms", f"{b} / {a}", "instructions"), sorted(rows)))


def laid_out(commit: str, folder: Path) -> Mapping[str, str]:
    """Put a commit's packages into *folder*, and give the environment in which they are the ones imported."""
    folder.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", commit, *PACKAGES], cwd=HERE.parent, check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / package) for package in PACKAGES)}


def _ratio(before: float | None, after: float | None) -> str:
    return f"{after / before:.3f}" if before and after else "-"


if __name__ == "__main__":
    main()
