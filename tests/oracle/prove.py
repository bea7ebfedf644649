"""
Run many schedules and print how they went.

    prove.py SCHEDULES [--faults N] [--only NAME] [--show N]

Exits with 1 where a figure that was called valid is wrong.
"""

# ruff: noqa: E402 - the imports need the path that is added first

import argparse
import asyncio
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from oracle.faults.all import FAULTS
from oracle.schedule import Verdict, run_schedule

PROCESSES = 2


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold valid figures against the truth.")
    parser.add_argument("schedules", type=int)
    parser.add_argument("--faults", type=int, help="so many faults a schedule; by default 0 to 3")
    parser.add_argument("--only", choices=[fault.name for fault in FAULTS], help="one kind of fault alone")
    parser.add_argument("--show", type=int, default=20, help="so many wrong figures in words")
    arguments = parser.parse_args()
    run = partial(_run, faults=arguments.faults, only=arguments.only)
    with ProcessPoolExecutor(PROCESSES) as pool:
        verdicts = list(pool.map(run, range(arguments.schedules), chunksize=4))
    print(report(verdicts, arguments.show))
    return 1 if any(verdict.wrong for verdict in verdicts) else 0


def report(verdicts: Sequence[Verdict], show: int) -> str:
    """The figures of all schedules, in words."""
    errors = [error for verdict in verdicts for error in verdict.errors]
    wrong = [line for verdict in verdicts for line in verdict.wrong]
    refused: Counter[tuple[str, ...]] = sum((verdict.refused for verdict in verdicts), Counter())
    lines = [
        f"{len(verdicts)} schedules, {sum(verdict.figures for verdict in verdicts)} figures:",
        f"  {len(errors)} valid and right; mean absolute error {sum(errors) / max(1, len(errors)):.2%}, "
        f"largest {max(errors, default=0.0):.2%}",
        f"  {len(wrong)} valid and wrong",
        f"  {refused.total()} not valid although right",
        *(f"    {count}: {', '.join(reasons)}" for reasons, count in refused.most_common(8)),
        *(f"  WRONG {line}" for line in wrong[:show]),
    ]
    return "\n".join(lines)


def _run(seed: int, faults: int | None, only: str | None) -> Verdict:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_schedule(seed, Path(folder), faults, only))


if __name__ == "__main__":
    sys.exit(main())
