"""
Run many schedules and print how they went.

    prove.py SCHEDULES [--faults N] [--only NAME]

Exits with 1 where a figure that was called valid is wrong, where valid ones are off by too much on average,
or where too many are refused although nothing disturbs them.
"""

# ruff: noqa: E402 - the imports need the path that is added first

import argparse
import asyncio
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from msgspec import Struct

sys.path[:0] = [str(Path(__file__).parents[1])]

from oracle.faults.all import FAULTS
from oracle.schedule import Verdict, run_schedule

PROCESSES = 2
REPORTED_SCHEDULES = 200
MAX_ERROR_UNDISTURBED = 0.01
MAX_ERROR = 0.03
MAX_REFUSED_UNDISTURBED = 0.1


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold valid figures against the truth.")
    parser.add_argument("schedules", type=int)
    parser.add_argument("--faults", type=int, help="so many faults a schedule; by default 0 to 3")
    parser.add_argument("--only", choices=[fault.name for fault in FAULTS], help="one kind of fault alone")
    arguments = parser.parse_args()
    run = partial(_run, faults=arguments.faults, only=arguments.only)
    with ProcessPoolExecutor(PROCESSES) as pool:
        verdicts = list(reported(pool.map(run, range(arguments.schedules), chunksize=4)))
    undisturbed = summed("undisturbed", [verdict for verdict in verdicts if not verdict.faults])
    everything = summed("over all", verdicts)
    refused: Counter[tuple[str, ...]] = sum((verdict.refused for verdict in verdicts), Counter())
    print(undisturbed.text, everything.text, sep="\n")
    print("not valid although right, by reasons:")
    for reasons, count in refused.most_common(12):
        print(f"  {count}: {', '.join(reasons)}")
    is_good = (
        not everything.wrong
        and undisturbed.mean_error <= MAX_ERROR_UNDISTURBED
        and undisturbed.refused_ratio <= MAX_REFUSED_UNDISTURBED
        and everything.mean_error <= MAX_ERROR
    )
    print("as required" if is_good else "NOT as required")
    return 0 if is_good else 1


def reported(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """Pass *verdicts* on, and print how they went so far now and then."""
    so_far: list[Verdict] = []
    for verdict in verdicts:
        so_far.append(verdict)
        if len(so_far) % REPORTED_SCHEDULES == 0:
            undisturbed = summed("so far, undisturbed", [one for one in so_far if not one.faults])
            print(undisturbed.text, summed("so far, over all", so_far).text, sep="\n", file=sys.stderr)
        for line in verdict.wrong:
            print(f"WRONG {line}", file=sys.stderr)
        yield verdict


class Summary(Struct, frozen=True):
    """Figures of some schedules: how many, how far the valid ones were off, and what was refused."""

    name: str
    schedules: int
    figures: int
    errors: tuple[float, ...]
    wrong: int
    refused: int

    @property
    def mean_error(self) -> float:
        return sum(self.errors) / max(1, len(self.errors))

    @property
    def refused_ratio(self) -> float:
        return self.refused / max(1, self.figures)

    @property
    def text(self) -> str:
        return (
            f"{self.name}: {self.schedules} schedules, {self.figures} figures\n"
            f"  {len(self.errors)} valid and right; mean absolute error {self.mean_error:.2%}, "
            f"largest {max(self.errors, default=0.0):.2%}\n"
            f"  {self.wrong} valid and wrong\n"
            f"  {self.refused} not valid although right ({self.refused_ratio:.1%})"
        )


def summed(name: str, verdicts: Sequence[Verdict]) -> Summary:
    return Summary(
        name,
        len(verdicts),
        sum(verdict.figures for verdict in verdicts),
        tuple(error for verdict in verdicts for error in verdict.errors),
        sum(len(verdict.wrong) for verdict in verdicts),
        sum(verdict.refused.total() for verdict in verdicts),
    )


def _run(seed: int, faults: int | None, only: str | None) -> Verdict:
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run_schedule(seed, Path(folder), faults, only))


if __name__ == "__main__":
    sys.exit(main())
