"""
Work over energy: parts summed by any grouping, at any boundary, then divided once.

A ratio here is a sum of tokens over a sum of joules of the same intervals, never a mean of ratios.
"""

from collections.abc import Iterable, Sequence

from perwatt_aggregator import reasons
from perwatt_aggregator.answers import PROVENANCES, Carbon, Cost, Dimension, EfficiencyItem, Provenance, Pue
from perwatt_aggregator.boundary import Boundary
from perwatt_aggregator.config import FacilityConfig
from perwatt_aggregator.fleet import Fleet, Group, NodeView
from perwatt_aggregator.sums import (
    Energy,
    coverage_ratio,
    energy_at,
    few_readings,
    mean_window,
    work_of,
)

MIN_COVERAGE_RATIO = 0.95
MIN_EXPLAINED_RATIO = 0.95
JOULES_PER_WATT_HOUR = 3600.0
JOULES_PER_KILOWATT_HOUR = 3.6e6
MILLION = 1e6


def efficiency(
    views: Iterable[NodeView],
    by: Sequence[Dimension],
    boundaries: Sequence[Boundary],
    facility: FacilityConfig,
) -> tuple[EfficiencyItem, ...]:
    """Return one item for each group that *by* makes of the fleet, and for each of *boundaries*."""
    fleet = Fleet(views, by)
    return tuple(
        _Item(fleet, group, boundary, facility).item() for group in fleet.groups() for boundary in boundaries
    )


class _Item:
    """One group at one boundary, on its way to an answer; `_reasons` gathers what must be said."""

    def __init__(self, fleet: Fleet, group: Group, boundary: Boundary, facility: FacilityConfig) -> None:
        self._fleet = fleet
        self._group = group
        self._boundary = boundary
        self._facility = facility
        self._reasons: set[str] = set()
        self._work = work_of(group.parts)
        self._energy = self._measure()

    def item(self) -> EfficiencyItem:
        group, work, energy = self._group, self._work, self._energy
        coverage = coverage_ratio(group.parts, self._fleet.views, at_node=self._boundary != "gpu_board")
        explained = self._explained()
        output, joules = (
            (work.output, energy.joules if energy else None) if self._divisible() else (None, None)
        )
        self._judge(coverage, explained)
        per_token = _over(joules, output)
        facts = self._fleet.facts(group)
        return EfficiencyItem(
            group=group.labels,
            boundary=self._boundary,
            window=mean_window(group.parts),
            tokens=work.tokens(),
            requests=work.requests(),
            work=work.units,
            energy_joules=energy.joules if energy else None,
            energy_idle_joules=energy.idle_joules if energy else None,
            power_watts=energy.power_watts if energy else None,
            output_tokens_per_second=work.output_per_second,
            tokens_per_joule=_over(output, joules),
            joules_per_token=per_token,
            effective_tokens_per_joule=_over(work.effective_output, joules),
            tokens_per_joule_active=_over(output, energy.active_joules if energy else None),
            watt_hours_per_million_tokens=_times(per_token, MILLION / JOULES_PER_WATT_HOUR),
            joules_per_request=_over(joules, work.requests_ok),
            pue=self._pue(),
            cost=self._cost(),
            carbon=self._carbon(),
            coverage_ratio=coverage,
            explained_ratio=explained,
            largest_gap_seconds=facts.largest_gap_seconds,
            age_seconds=facts.age_seconds,
            provenance=self._provenance(),
            valid=reasons.is_valid(self._reasons),
            reasons=reasons.ordered(self._reasons),
        )

    def _measure(self) -> Energy | None:
        """The energy at the item's boundary; None, with reasons, where it cannot be had."""
        parts, views = self._group.parts, self._fleet.views
        if self._boundary == "gpu_board":
            energy = energy_at(parts, self._fleet, at_node=False)
            if energy is None:
                self._reasons.add("no_energy")
            return energy
        for part in parts:
            self._reasons.update(views[part.node].factor_reasons)
        energy = energy_at(parts, self._fleet, at_node=True)
        if energy is None and "no_node_meter" not in self._reasons:
            self._reasons.add("no_energy")
        if self._boundary == "node":
            return energy
        if self._facility.pue is None:
            self._reasons.add("no_pue")
            return None
        return None if energy is None else energy.times(self._facility.pue.ratio)

    def _explained(self) -> float | None:
        energy = self._energy
        return None if energy is None else _over(min(energy.known_joules, energy.joules), energy.joules)

    def _divisible(self) -> bool:
        """Whether the item's tokens and joules belong together, member by member."""
        if not self._group.has_whole_groups:
            self._reasons.add("shared_group")
        return self._group.has_whole_groups and not self._work.spans_gpus

    def _judge(self, coverage: float, explained: float | None) -> None:
        group, energy, found = self._group, self._energy, self._reasons
        found.update(reason for part in group.parts for reason in part.reasons)
        found.update(self._fleet.facts(group).reasons)
        if coverage < MIN_COVERAGE_RATIO:
            found.add("coverage_low")
        if few_readings(group.parts):
            found.add("too_few_readings")
        if energy is not None and energy.joules == 0.0:
            found.add("no_joules")
        if group.is_rest:
            found.add("unattributed")
            return
        if explained is not None and explained < MIN_EXPLAINED_RATIO:
            found.add("unexplained")
        if not self._work.spans_gpus:
            found.update(self._work.reasons())

    def _provenance(self) -> tuple[Provenance, ...]:
        found = {source for part in self._group.parts for source in part.provenance}
        if self._boundary != "gpu_board":
            for part in self._group.parts:
                found.update(self._fleet.views[part.node].factor_provenance)
        return tuple(source for source in PROVENANCES if source in found)

    def _pue(self) -> Pue | None:
        pue = self._facility.pue
        return None if pue is None else Pue(pue.ratio, pue.kind, None)

    def _cost(self) -> Cost | None:
        price = self._facility.price
        if price is None or self._boundary != "facility" or self._energy is None:
            return None
        amount = self._energy.joules / JOULES_PER_KILOWATT_HOUR * price.per_kwh
        return Cost(price.currency, amount, self._per_million(amount))

    def _carbon(self) -> Carbon | None:
        carbon = self._facility.carbon
        if carbon is None or self._boundary != "facility" or self._energy is None:
            return None
        grams = self._energy.joules / JOULES_PER_KILOWATT_HOUR * carbon.grams_co2e_per_kwh
        return Carbon(grams, carbon.kind, self._per_million(grams))

    def _per_million(self, amount: float) -> float | None:
        return _times(_over(amount, self._work.output), MILLION) if self._divisible() else None


def _over(numerator: float | None, denominator: float | None) -> float | None:
    """A quotient, or None where there is none: never Inf, never NaN."""
    return None if numerator is None or not denominator else numerator / denominator


def _times(factor: float | None, other: float) -> float | None:
    return None if factor is None else factor * other
