"""Work amounts: counts of several parts added up, with how many parts know each, so that they add again."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.window.window import Counts, SloWindow

Sums = Mapping[str, tuple[float, int]]
"""The amount of each name, and how many parts know it."""


class Amounts(NamedTuple):
    """
    Sums over parts whose work is known; each `..._known` is how many of them know the amount before it.

    `effective` tokens are those of the parts `with_output`.
    """

    parts: int = 0
    with_output: int = 0
    output: float = 0.0
    output_per_second: float = 0.0
    prompt_computed: float = 0.0
    prompt_computed_known: int = 0
    prompt_cached: float = 0.0
    prompt_cached_known: int = 0
    effective: float = 0.0
    effective_known: int = 0


class WorkAmounts(NamedTuple):
    """The work of several parts; `requests` are by outcome, `wasted` tokens by cause, `work` by unit."""

    amounts: Amounts
    requests: Sums
    wasted: Sums
    work: Sums
    slos: tuple[SloWindow, ...]

    def counts(self) -> Counts:
        """Each count; None if not every part knows it, and output tokens of the parts that know them."""
        own = self.amounts

        def whole(amount: float, known: int, parts: int = own.parts) -> float | None:
            return amount if parts and known == parts else None

        return Counts(
            output=own.output if own.with_output else None,
            prompt_computed=whole(own.prompt_computed, own.prompt_computed_known),
            prompt_cached=whole(own.prompt_cached, own.prompt_cached_known),
            effective_output=whole(own.effective, own.effective_known, own.with_output),
            requests=_complete(self.requests, own.parts),
            wasted=_complete(self.wasted, own.with_output),
            work={unit: amount for unit, (amount, _) in self.work.items()},
        )


NOTHING = WorkAmounts(Amounts(), {}, {}, {}, ())


def work_amounts(parts: Iterable[Part]) -> WorkAmounts:
    """The work of those *parts* whose work is known."""
    counted = [(part.counts, part.span.seconds) for part in parts if part.counts and part.is_known]
    if not counted:
        return NOTHING
    return added(_of_one(counts, seconds) for counts, seconds in counted)


def _of_one(counts: Counts, seconds: float) -> WorkAmounts:
    output, computed, cached = counts.output, counts.prompt_computed, counts.prompt_cached
    effective = None if output is None else counts.effective_output
    amounts = Amounts(
        1,
        int(output is not None),
        output or 0.0,
        (output or 0.0) / seconds if seconds else 0.0,
        computed or 0.0,
        int(computed is not None),
        cached or 0.0,
        int(cached is not None),
        effective or 0.0,
        int(effective is not None),
    )
    slos = () if counts.slo is None else (counts.slo,)
    wasted = {} if output is None else counts.wasted
    return WorkAmounts(amounts, _once(counts.requests), _once(wasted), _once(counts.work), slos)


def _once(amounts: Mapping[str, float]) -> Sums:
    return {name: (amount, 1) for name, amount in amounts.items()}


def added(several: Iterable[WorkAmounts]) -> WorkAmounts:
    """Add up *several*."""
    several = [one for one in several if one is not NOTHING]
    if len(several) < 2:
        return several[0] if several else NOTHING
    return WorkAmounts(
        Amounts(*map(sum, zip(*(one.amounts for one in several), strict=True))),
        _added(one.requests for one in several),
        _added(one.wasted for one in several),
        _added(one.work for one in several),
        tuple(chain.from_iterable(one.slos for one in several)),
    )


def _added(several: Iterable[Sums]) -> Sums:
    found: dict[str, list[tuple[float, int]]] = {}
    for one in several:
        for name, amount in one.items():
            found.setdefault(name, []).append(amount)
    return {name: _total(amounts) for name, amounts in found.items()}


def _total(amounts: list[tuple[float, int]]) -> tuple[float, int]:
    return sum(amount for amount, _ in amounts), sum(known for _, known in amounts)


def _complete(sums: Sums, parts: int) -> dict[str, float]:
    return {name: amount for name, (amount, known) in sums.items() if known == parts}
