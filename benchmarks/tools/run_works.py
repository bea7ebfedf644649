"""Runner of `works.py` in a process of its own: CPU time of each work, and its instructions by callgrind."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

WORKS = Path(__file__).parents[1] / "works.py"
CALLS = 10


def available() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None


def times(
    repeats: int, works: Path = WORKS, environment: Mapping[str, str] = os.environ
) -> dict[str, list[float]]:
    """CPU seconds of one call of each work, repeat by repeat, in a fresh process."""
    command = [sys.executable, str(works), "--repeats", str(repeats)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def instructions(works: Path = WORKS, environment: Mapping[str, str] = os.environ) -> dict[str, float]:
    """
    Instructions of one call of each work, all threads together.

    Callgrind dumps its counts at each mark, so the dumps after every second mark are those of the works.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        command = ["valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
        done = subprocess.run(
            [*command, sys.executable, str(works), "--calls", str(CALLS)],
            env={**environment, "PYTHONHASHSEED": "0"},
            check=True,
            capture_output=True,
            text=True,
        )
        names = list(json.loads(done.stdout.splitlines()[-1]))
        dumps = sorted(Path(folder).glob("callgrind.*"), key=lambda path: int(path.suffix[1:]))
        totals = [
            int(found[1])
            for dump in dumps
            if (found := re.search(r"^summary: (\d+)", dump.read_text(), re.M))
        ]
    if len(totals) != 2 * len(names):
        raise RuntimeError(f"{len(totals)} dumps of {len(names)} works")
    return {name: total / CALLS for name, total in zip(names, totals[1::2], strict=True)}
