"""Work of several parts, summed: tokens, requests and other units."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from perwatt_aggregator.attribution.part import Part
from perwatt_aggregator.fleet.slo import slo_of
from perwatt_aggregator.fleet.waste import wasted_of
from perwatt_aggregator.schema.efficiency import Requests, Slo, Tokens, Wasted
from perwatt_aggregator.window.window import Counts


class Work(Struct, frozen=True):
    """
    What was done in several parts together; None is what not all of those that tell anything tell.

    `spans_gpus` when tokens were made on more GPUs than these parts stand for.
    """

    output: float | None
    prompt_computed: float | None
    prompt_cached: float | None
    effective_output: float | None
    requests_ok: float | None
    requests_aborted: float | None
    requests_error: float | None
    units: dict[str, float]
    wasted: Wasted
    slo: Slo | None
    output_per_second: float | None
    spans_gpus: bool

    def tokens(self) -> Tokens:
        return Tokens(
            _whole(self.output),
            _whole(self.prompt_computed),
            _whole(self.prompt_cached),
            _whole(self.effective_output),
            self.wasted,
        )

    def requests(self) -> Requests:
        return Requests(_whole(self.requests_ok), _whole(self.requests_aborted), _whole(self.requests_error))

    def reasons(self) -> set[str]:
        """Why ratios over this work are null."""
        found = set()
        if self.output is None:
            found.add(self._without_output())
        elif self.output == 0.0:
            found.add("no_output_tokens")
        if self.output is not None and self.effective_output is None:
            found.add("no_effective_tokens")
        if not self.requests_ok:
            found.add("no_requests")
        return found

    def _without_output(self) -> str:
        """Why there is no output to divide."""
        if self.units:
            return "other_units"
        return "no_token_source" if self.prompt is None else "prompt_tokens_only"

    @property
    def prompt(self) -> float | None:
        """Prompt tokens, those from a cache where the engine tells of them."""
        return None if self.prompt_computed is None else self.prompt_computed + (self.prompt_cached or 0.0)


def work_of(parts: Iterable[Part]) -> Work:
    """Sum the work of *parts*."""
    parts = tuple(parts)
    spans = any("tokens_span_gpus" in part.reasons for part in parts)
    covered = () if spans else _with_joules(parts)
    telling = [(part, part.counts) for part in covered if part.counts and part.is_known]
    counts = [count for _, count in telling]
    outputs = [(part, count.output) for part, count in telling if count.output is not None]
    return Work(
        output=sum(output for _, output in outputs) if outputs else None,
        prompt_computed=_all([count.prompt_computed for count in counts]),
        prompt_cached=_all([count.prompt_cached for count in counts]),
        effective_output=_all([count.effective_output for count in counts if count.output is not None]),
        requests_ok=_all([count.requests.get("ok") for count in counts]),
        requests_aborted=_all([count.requests.get("aborted") for count in counts]),
        requests_error=_all([count.requests.get("error") for count in counts]),
        units=_units(counts),
        wasted=wasted_of(counts),
        slo=slo_of([count.slo for count in counts if count.slo is not None]),
        output_per_second=sum(_rate(part, output) for part, output in outputs) if outputs else None,
        spans_gpus=spans,
    )


def _with_joules(parts: Sequence[Part]) -> Sequence[Part]:
    """
    Leave out parts without joules, by themselves or by their group: nothing divides their tokens.

    Where nobody has any, nothing is divided, and what was done is told nevertheless.
    """
    measured = [part for part in parts if part.energy.is_measured]
    groups = {part.owner.group for part in measured if part.owner.group}
    kept = [part for part in parts if part.energy.is_measured or part.owner.group in groups]
    return kept if measured else parts


def _left_out(parts: Sequence[Part]) -> Sequence[Part]:
    kept = {id(part) for part in _with_joules(parts)}
    return [part for part in parts if id(part) not in kept]


def _rate(part: Part, amount: float) -> float:
    return amount / part.span.seconds if part.span.seconds > 0.0 else 0.0


def _all(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known and len(known) == len(amounts) else None


def _units(counts: Iterable[Counts]) -> dict[str, float]:
    units: dict[str, float] = {}
    for count in counts:
        for unit, amount in count.work.items():
            units[unit] = units.get(unit, 0.0) + amount
    return units


def _whole(amount: float | None) -> int | None:
    return None if amount is None else round(amount)
