"""Work of a group of parts: their counts added up, and why ratios over them are null."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.optional import complete_total, quotient, total
from perwatt_aggregator.window.window import Counts, SloWindow

_OUTCOMES = ("ok", "aborted", "error")


class Work(Struct, frozen=True):
    """
    Work of several parts.

    A number in `counts` is None if not every engine counts it; output tokens are those of the engines
    that count them. `slos` are the workloads that have objectives. `spans_gpus` if the tokens were made on
    more GPUs than those of the parts, so that they are left out.
    """

    counts: Counts
    slos: tuple[SloWindow, ...]
    output_per_second: float | None
    spans_gpus: bool

    def reasons(self) -> set[str]:
        """Why ratios over this work are null."""
        counts, found = self.counts, set()
        if counts.output is None:
            found.add(self._without_output())
        elif counts.output == 0.0:
            found.add("no_output_tokens")
        if counts.output is not None and counts.effective_output is None:
            found.add("no_effective_tokens")
        if not counts.requests.get("ok"):
            found.add("no_requests")
        return found

    def _without_output(self) -> str:
        """Why there is no output to divide."""
        if self.counts.work:
            return "other_units"
        return "no_token_source" if self.prompt is None else "prompt_tokens_only"

    @property
    def prompt(self) -> float | None:
        """Prompt tokens, cached ones included if the engine counts them."""
        counts = self.counts
        return (
            None if counts.prompt_computed is None else counts.prompt_computed + (counts.prompt_cached or 0.0)
        )


def work_of(parts: Iterable[Part]) -> Work:
    """Add up the work of *parts*."""
    parts = tuple(parts)
    spans = any("tokens_span_gpus" in part.reasons for part in parts)
    covered = () if spans else with_joules(parts)
    counted = [(part, part.counts) for part in covered if part.counts and part.is_known]
    return Work(
        counts=summed([counts for _, counts in counted]),
        slos=tuple(counts.slo for _, counts in counted if counts.slo is not None),
        output_per_second=total(
            quotient(counts.output, part.span.seconds) or 0.0
            for part, counts in counted
            if counts.output is not None
        ),
        spans_gpus=spans,
    )


def summed(several: Sequence[Counts]) -> Counts:
    """Add up *several* counts, but for `flops_per_gpu` and `slo`, which do not add."""
    with_output = [counts for counts in several if counts.output is not None]
    return Counts(
        output=total(counts.output for counts in several),
        prompt_computed=complete_total(counts.prompt_computed for counts in several),
        prompt_cached=complete_total(counts.prompt_cached for counts in several),
        effective_output=complete_total(counts.effective_output for counts in with_output),
        requests=_complete_totals(_OUTCOMES, [counts.requests for counts in several]),
        wasted=_complete_totals(
            {cause for counts in with_output for cause in counts.wasted},
            [counts.wasted for counts in with_output],
        ),
        work=_units(several),
    )


def with_joules(parts: Sequence[Part]) -> Sequence[Part]:
    """
    Leave out the parts whose tokens are divided by no joules, neither their own nor those of their group.

    If no part has joules, nothing is divided, and all parts are kept.
    """
    measured = [part for part in parts if part.energy.is_measured]
    groups = {part.owner.group for part in measured if part.owner.group}
    kept = [part for part in parts if part.energy.is_measured or part.owner.group in groups]
    return kept if measured else parts


def without_joules(parts: Sequence[Part]) -> Sequence[Part]:
    """The parts that `with_joules` leaves out."""
    kept = {id(part) for part in with_joules(parts)}
    return [part for part in parts if id(part) not in kept]


def _complete_totals(names: Iterable[str], several: Sequence[dict[str, float]]) -> dict[str, float]:
    totals = {name: complete_total(amounts.get(name) for amounts in several) for name in names}
    return {name: amount for name, amount in totals.items() if amount is not None}


def _units(several: Iterable[Counts]) -> dict[str, float]:
    units: dict[str, float] = {}
    for counts in several:
        for unit, amount in counts.work.items():
            units[unit] = units.get(unit, 0.0) + amount
    return units
