"""Efficiency answer from the history: windows that are longer than what is in memory."""

from collections.abc import Sequence

from perwatt_aggregator.answers.efficiency import JOULES_PER_WATT_HOUR, MILLION
from perwatt_aggregator.answers.headline import headline
from perwatt_aggregator.answers.history.series import carbon_kind, is_someones
from perwatt_aggregator.answers.history.step import Step, has_places
from perwatt_aggregator.history.reader import GroupSums, HistoryQuery, HistorySums
from perwatt_aggregator.optional import product, quotient, rounded
from perwatt_aggregator.schema.common import Boundary
from perwatt_aggregator.schema.efficiency import Carbon, Charge, Cost, EfficiencyItem, Requests, Tokens
from perwatt_aggregator.schema.instants import window
from perwatt_aggregator.validity.all import ordered


def efficiency_of_history(
    found: HistorySums,
    query: HistoryQuery,
    boundaries: Sequence[Boundary],
    labels: Sequence[str],
    age_seconds: float,
) -> tuple[EfficiencyItem, ...]:
    """One item for each group and boundary, over the one step of *query*."""
    places = has_places((*query.by, *query.where), labels)
    recorded = found.recorded.get(query.start, 0)
    return tuple(
        _item(group, Step(sums, boundary, query.step, recorded, has_places=places), query, age_seconds)
        for group in found.groups
        for sums in group.steps.values()
        if places or is_someones(group)
        for boundary in boundaries
    )


def _item(group: GroupSums, step: Step, query: HistoryQuery, age_seconds: float) -> EfficiencyItem:
    joules = step.joules if step.can_divide else None
    output = step.output if step.can_divide else None
    active = None if joules is None or step.idle_joules is None else joules - step.idle_joules
    ok = step.counted("ok") if step.can_divide else None
    prompt, cached = step.counted("prompt_computed"), step.counted("prompt_cached")
    effective = step.counted("effective_output")
    per_token, per_request = quotient(joules, output), quotient(joules, ok)
    return EfficiencyItem(
        group=group.labels,
        boundary=step.boundary,
        window=window(query.start, query.end),
        tokens=Tokens(rounded(step.output), rounded(prompt), rounded(cached), rounded(effective)),
        requests=Requests(*(rounded(step.counted(name)) for name in ("ok", "aborted", "error"))),
        work=dict(step.work),
        energy_joules=step.joules,
        energy_idle_joules=step.idle_joules,
        power_watts=step.power_watts,
        output_tokens_per_second=quotient(step.output, step.recorded_seconds),
        tokens_per_joule=quotient(output, joules),
        joules_per_token=per_token,
        effective_tokens_per_joule=quotient(effective, joules),
        tokens_per_joule_active=quotient(output, active),
        watt_hours_per_million_tokens=product(per_token, MILLION / JOULES_PER_WATT_HOUR),
        joules_per_request=per_request,
        watt_hours_per_request=product(per_request, 1.0 / JOULES_PER_WATT_HOUR),
        headline=headline(step.output, _sum(prompt, cached), step.work, joules),
        slo=None,
        work_per_joule={unit: amount / joules for unit, amount in step.work.items()} if joules else {},
        pue=None,
        cost=_cost(group, step, output, ok),
        carbon=_carbon(group, step, output, ok),
        coverage_ratio=step.coverage_ratio,
        explained_ratio=step.explained_ratio,
        largest_gap_seconds=None,
        age_seconds=age_seconds,
        relative_uncertainty=step.uncertainty_ratio,
        provenance=step.provenance,
        valid=step.is_valid,
        reasons=ordered(step.reasons),
        source="history",
    )


def _sum(prompt: float | None, cached: float | None) -> float | None:
    return None if prompt is None else prompt + (cached or 0.0)


def _cost(group: GroupSums, step: Step, output: float | None, ok: float | None) -> Cost | None:
    amount = step.value("cost")
    if step.boundary != "facility" or group.currency is None or amount is None or step.joules is None:
        return None
    energy, capital = _charge(amount, output, ok), step.value("capital")
    return Cost(
        group.currency,
        energy.amount,
        energy.per_million_output_tokens,
        energy.per_request,
        None if capital is None else _charge(capital, output, ok),
        None if capital is None else _charge(amount + capital, output, ok),
    )


def _carbon(group: GroupSums, step: Step, output: float | None, ok: float | None) -> Carbon | None:
    grams, kind = step.value("grams"), carbon_kind(group)
    if step.boundary != "facility" or kind is None or grams is None or step.joules is None:
        return None
    charge = _charge(grams, output, ok)
    return Carbon(grams, kind, charge.per_million_output_tokens, charge.per_request)


def _charge(amount: float, output: float | None, ok: float | None) -> Charge:
    return Charge(amount, product(quotient(amount, output), MILLION), quotient(amount, ok))
