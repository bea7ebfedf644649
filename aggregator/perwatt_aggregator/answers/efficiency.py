"""
Efficiency answer: work over energy, for any grouping and any boundary.

A ratio is a sum of tokens over a sum of joules of the same intervals, never a mean of ratios.
"""

from collections.abc import Iterable, Iterator, Sequence

from perwatt_aggregator.answers.counts import requests, tokens
from perwatt_aggregator.answers.headline import headline
from perwatt_aggregator.answers.slo import slo_answer
from perwatt_aggregator.fleet.groups import EVERYTHING, Fleet, Group, Where
from perwatt_aggregator.fleet.sums import Sums, sums_of
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import product, quotient
from perwatt_aggregator.schema.common import PROVENANCES, Boundary, Dimension, Provenance
from perwatt_aggregator.schema.efficiency import Carbon, Charge, Cost, EfficiencyItem, Pue
from perwatt_aggregator.validity.all import is_valid, ordered
from perwatt_aggregator.validity.filling import passes_by_itself
from perwatt_aggregator.validity.thresholds import MIN_COVERAGE_RATIO, MIN_EXPLAINED_RATIO

JOULES_PER_WATT_HOUR = 3600.0
MILLION = 1e6


def efficiency(
    views: Iterable[NodeView],
    by: Sequence[Dimension],
    boundaries: Sequence[Boundary],
    where: Where = EVERYTHING,
    *,
    is_whole: bool = True,
) -> tuple[EfficiencyItem, ...]:
    """
    One item for each group of the fleet by *by*, and for each of *boundaries*.

    Raises TooManyGroups.
    """
    fleet = Fleet(views, by, where, is_whole=is_whole)
    return tuple(item for _, item in group_items(fleet, boundaries))


def group_items(fleet: Fleet, boundaries: Sequence[Boundary]) -> Iterator[tuple[Group, EfficiencyItem]]:
    """Each group of *fleet* with its item at each of *boundaries*."""
    for group in fleet.groups():
        sums = sums_of(group, fleet)
        for boundary in boundaries:
            yield group, _ItemBuilder(sums, boundary).item()


class _ItemBuilder:
    """Builder of the item of one group at one boundary; it collects the reasons on the way."""

    def __init__(self, sums: Sums, boundary: Boundary) -> None:
        self._sums = sums
        self._boundary = boundary
        self._at_boundary = sums.by_boundary[boundary]
        self._energy = self._at_boundary.energy
        self._reasons: set[str] = set(sums.reasons | self._at_boundary.reasons)
        if boundary == "facility":
            self._reasons |= sums.bill.reasons

    def item(self) -> EfficiencyItem:
        sums, work, energy = self._sums, self._sums.work, self._energy
        counts = work.counts
        coverage, explained = self._at_boundary.coverage_ratio, self._explained_ratio()
        output, joules = (
            (counts.output, energy.joules if energy else None) if self._can_divide() else (None, None)
        )
        self._add_reasons(coverage, explained)
        per_token, per_request = quotient(joules, output), quotient(joules, counts.requests.get("ok"))
        return EfficiencyItem(
            group=sums.group.labels,
            boundary=self._boundary,
            window=sums.window,
            tokens=tokens(counts),
            requests=requests(counts),
            work=counts.work,
            energy_joules=energy.joules if energy else None,
            energy_idle_joules=energy.idle_joules if energy else None,
            power_watts=energy.power_watts if energy else None,
            output_tokens_per_second=work.output_per_second,
            tokens_per_joule=quotient(output, joules),
            joules_per_token=per_token,
            effective_tokens_per_joule=quotient(counts.effective_output, joules),
            tokens_per_joule_active=quotient(output, energy.active_joules if energy else None),
            watt_hours_per_million_tokens=product(per_token, MILLION / JOULES_PER_WATT_HOUR),
            joules_per_request=per_request,
            watt_hours_per_request=product(per_request, 1.0 / JOULES_PER_WATT_HOUR),
            headline=headline(counts.output, work.prompt, counts.work, joules),
            slo=slo_answer(work.slos),
            work_per_joule={unit: amount / joules for unit, amount in counts.work.items()} if joules else {},
            pue=self._pue(),
            cost=self._cost(),
            carbon=self._carbon(),
            coverage_ratio=coverage,
            explained_ratio=explained,
            largest_gap_seconds=sums.largest_gap_seconds,
            age_seconds=sums.age_seconds,
            relative_uncertainty=self._at_boundary.uncertainty_ratio,
            provenance=self._provenance(),
            valid=is_valid(self._reasons),
            reasons=ordered(self._reasons),
            unmeasured_gpus=sums.unmeasured_gpus,
            first_figure_seconds=self._first_figure_seconds(),
        )

    def _explained_ratio(self) -> float | None:
        energy = self._energy
        return None if energy is None else quotient(min(energy.known_joules, energy.joules), energy.joules)

    def _can_divide(self) -> bool:
        """Whether the item has the tokens and the joules of the same members of each engine."""
        return self._sums.group.has_whole_groups and not self._sums.work.spans_gpus

    def _add_reasons(self, coverage: float, explained: float | None) -> None:
        energy, work, found = self._energy, self._sums.work, self._reasons
        if energy is None and "no_node_meter" not in found and not self._lacks_pue():
            found.add("no_energy")
        if coverage < MIN_COVERAGE_RATIO:
            found.add("coverage_low")
        if energy is not None and energy.joules == 0.0:
            found.add("no_joules")
        if self._sums.group.is_unattributed:
            found.add("unattributed")
            return
        if explained is not None and explained < MIN_EXPLAINED_RATIO:
            found.add("unexplained")
        if not work.spans_gpus:
            found.update(work.reasons())

    def _first_figure_seconds(self) -> float | None:
        """Seconds until the first valid figure, if nothing but time is missing."""
        has_readings = self._sums.window is not None and "too_few_readings" not in self._reasons
        if self._sums.fill_seconds and passes_by_itself(self._reasons, has_readings=has_readings):
            return self._sums.fill_seconds
        return None

    def _provenance(self) -> tuple[Provenance, ...]:
        return tuple(source for source in PROVENANCES if source in self._at_boundary.provenance)

    def _lacks_pue(self) -> bool:
        """Whether there is energy at the nodes, and only the PUE is not known."""
        return self._boundary == "facility" and self._sums.by_boundary["node"].energy is not None

    def _pue(self) -> Pue | None:
        """The PUE of the group's nodes; None if there is none, or if they differ."""
        in_use = {state.pue for state in self._sums.bill.facilities}
        pue = in_use.pop() if len(in_use) == 1 else None
        return None if pue is None else Pue(pue.ratio, pue.kind, pue.age_seconds)

    def _cost(self) -> Cost | None:
        bill = self._sums.bill
        if bill.currency is None or bill.energy is None or self._boundary != "facility" or not self._energy:
            return None
        energy = self._charge(bill.energy)
        capital = None if bill.capital is None else self._charge(bill.capital)
        total = None if bill.capital is None else self._charge(bill.energy + bill.capital)
        return Cost(
            bill.currency,
            energy.amount,
            energy.per_million_output_tokens,
            energy.per_request,
            capital,
            total,
        )

    def _carbon(self) -> Carbon | None:
        bill = self._sums.bill
        grams = bill.grams_co2e
        if bill.carbon_kind is None or grams is None or self._boundary != "facility" or not self._energy:
            return None
        charge = self._charge(grams)
        return Carbon(grams, bill.carbon_kind, charge.per_million_output_tokens, charge.per_request)

    def _charge(self, amount: float) -> Charge:
        """An amount of money or grams, and its share for tokens and for requests."""
        if not self._can_divide():
            return Charge(amount, None, None)
        counts = self._sums.work.counts
        per_token = quotient(amount, counts.output)
        return Charge(amount, product(per_token, MILLION), quotient(amount, counts.requests.get("ok")))
