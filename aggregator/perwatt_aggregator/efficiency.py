"""
Work over energy: parts summed by any grouping, at any boundary, then divided once.

A ratio here is a sum of tokens over a sum of joules of the same intervals, never a mean of ratios.
"""

from collections.abc import Iterable, Sequence

from perwatt_aggregator import reasons
from perwatt_aggregator.answers import PROVENANCES, Carbon, Cost, Dimension, EfficiencyItem, Provenance, Pue
from perwatt_aggregator.boundary import Boundary
from perwatt_aggregator.config import FacilityConfig
from perwatt_aggregator.fleet import Fleet, NodeView
from perwatt_aggregator.sums import Energy, Sums, sums_of

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
    sums = [sums_of(group, fleet) for group in fleet.groups()]
    return tuple(_Item(one, boundary, facility).item() for one in sums for boundary in boundaries)


class _Item:
    """One group at one boundary, on its way to an answer; `_reasons` gathers what must be said."""

    def __init__(self, sums: Sums, boundary: Boundary, facility: FacilityConfig) -> None:
        self._sums = sums
        self._boundary = boundary
        self._facility = facility
        self._place = sums.board if boundary == "gpu_board" else sums.node
        self._reasons: set[str] = set(sums.reasons | self._place.reasons)
        self._energy = self._measure()

    def item(self) -> EfficiencyItem:
        sums, work, energy = self._sums, self._sums.work, self._energy
        coverage, explained = self._place.coverage_ratio, self._explained()
        output, joules = (
            (work.output, energy.joules if energy else None) if self._divisible() else (None, None)
        )
        self._judge(coverage, explained)
        per_token = _over(joules, output)
        return EfficiencyItem(
            group=sums.group.labels,
            boundary=self._boundary,
            window=sums.window,
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
            work_per_joule={unit: amount / joules for unit, amount in work.units.items()} if joules else {},
            pue=self._pue(),
            cost=self._cost(),
            carbon=self._carbon(),
            coverage_ratio=coverage,
            explained_ratio=explained,
            largest_gap_seconds=sums.largest_gap_seconds,
            age_seconds=sums.age_seconds,
            provenance=self._provenance(),
            valid=reasons.is_valid(self._reasons),
            reasons=reasons.ordered(self._reasons),
        )

    def _measure(self) -> Energy | None:
        """The energy at the item's boundary; None, with reasons, where it cannot be had."""
        energy = self._place.energy
        if energy is None and "no_node_meter" not in self._reasons:
            self._reasons.add("no_energy")
        if self._boundary != "facility":
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
        return self._sums.group.has_whole_groups and not self._sums.work.spans_gpus

    def _judge(self, coverage: float, explained: float | None) -> None:
        energy, work, found = self._energy, self._sums.work, self._reasons
        if coverage < MIN_COVERAGE_RATIO:
            found.add("coverage_low")
        if energy is not None and energy.joules == 0.0:
            found.add("no_joules")
        if self._sums.group.is_rest:
            found.add("unattributed")
            return
        if explained is not None and explained < MIN_EXPLAINED_RATIO:
            found.add("unexplained")
        if not work.spans_gpus:
            found.update(work.reasons())

    def _provenance(self) -> tuple[Provenance, ...]:
        return tuple(source for source in PROVENANCES if source in self._place.provenance)

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
        return _times(_over(amount, self._sums.work.output), MILLION) if self._divisible() else None


def _over(numerator: float | None, denominator: float | None) -> float | None:
    """A quotient, or None where there is none: never Inf, never NaN."""
    return None if numerator is None or not denominator else numerator / denominator


def _times(factor: float | None, other: float) -> float | None:
    return None if factor is None else factor * other
