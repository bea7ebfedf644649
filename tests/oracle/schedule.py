"""One schedule: a fleet, some faults at random moments, and each valid figure held against the truth."""

from collections import Counter
from pathlib import Path
from random import Random

from msgspec import Struct

from oracle.faults.all import FAULTS
from oracle.faults.fault import Fault, Heal
from oracle.fleet import TrueFleet

SECONDS = 200
WARM_SECONDS = 75
LOOK_SECONDS = 17


class Verdict(Struct):
    """
    How one schedule went.

    `errors` are the relative errors of valid figures within their bound, `wrong` those beyond it, in words;
    `refused` counts figures that were not valid although right, by their reasons.
    """

    seed: int
    faults: tuple[str, ...]
    errors: list[float]
    wrong: list[str]
    refused: Counter[tuple[str, ...]]
    figures: int = 0


async def run_schedule(
    seed: int, folder: Path, faults: int | None = None, only: str | None = None
) -> Verdict:
    """Run the schedule of *seed* with so many *faults*, or a random number of them from 0 to 3."""
    random = Random(seed)
    fleet = TrueFleet(random, folder, SECONDS)
    drawn = _drawn(random, faults, only)
    verdict = Verdict(seed, tuple(fault.name for fault, _, _ in drawn), [], [], Counter())
    heals: dict[int, list[Heal]] = {}
    for fault, _, _ in drawn:
        if fault.from_start:
            fault.begin(fleet, random)
    fleet.start_agents()
    for second in range(1, SECONDS):
        for fault, begins, lasts in drawn:
            if not fault.from_start and begins == second and (heal := fault.begin(fleet, random)):
                heals.setdefault(begins + lasts, []).append(heal)
        for heal in heals.pop(second, ()):
            heal()
        await fleet.second()
        if second >= WARM_SECONDS and second % LOOK_SECONDS == 0:
            _hold(fleet, verdict, second)
    fleet.close()
    return verdict


def _drawn(random: Random, count: int | None, only: str | None) -> list[tuple[Fault, int, int]]:
    rows = [fault for fault in FAULTS if only in (None, fault.name)]
    number = random.randint(0, 3) if count is None else count
    return [
        (random.choice(rows), random.randint(20, SECONDS - 30), random.randint(2, 90)) for _ in range(number)
    ]


def _hold(fleet: TrueFleet, verdict: Verdict, second: int) -> None:
    for item in fleet.items():
        ratio, true = item.tokens_per_joule, fleet.true_tokens_per_joule(item)
        if ratio is None or not true or item.relative_uncertainty is None:
            continue
        verdict.figures += 1
        error = abs(ratio / true - 1.0)
        bound = 3.0 * item.relative_uncertainty + 0.02
        if not item.valid:
            if error <= bound:
                verdict.refused[item.reasons] += 1
        elif error <= bound:
            verdict.errors.append(error)
        else:
            verdict.wrong.append(
                f"seed {verdict.seed}, {second} s, {item.boundary} of {item.group}: {ratio:.3f}, "
                f"true {true:.3f}, off by {error:.1%} where {bound:.1%} is allowed, {item.reasons}, "
                f"faults {verdict.faults}"
            )
