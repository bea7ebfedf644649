"""Ledger answer: where the joules of each group went, with what qualifies each entry."""

from collections.abc import Iterable, Mapping, Sequence

from perwatt_aggregator.answers.ledger.active_shares import UNDECIDED_SHARES, Shares, active_shares
from perwatt_aggregator.answers.ledger.booking import NodeLedger
from perwatt_aggregator.answers.ledger.tree import LedgerTree
from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.attribution.leaves import Entry
from perwatt_aggregator.attribution.part import EngineKey
from perwatt_aggregator.fleet.groups import EVERYTHING, Fleet, Group, Where
from perwatt_aggregator.fleet.sums import sums_of
from perwatt_aggregator.fleet.view import NodeView
from perwatt_aggregator.optional import quotient
from perwatt_aggregator.schema.common import PROVENANCES, Boundary, Dimension, Provenance, Window
from perwatt_aggregator.schema.instants import mean_window
from perwatt_aggregator.schema.ledger import LedgerEntry, LedgerItem
from perwatt_aggregator.validity.all import is_valid, ordered
from perwatt_aggregator.validity.thresholds import MIN_COVERAGE_RATIO
from perwatt_aggregator.window.window import Counts

POWER_CAPS = ("sw_power_cap", "hw_power_brake")
"""Throttle reasons that are power limits."""
# Reasons of ratios, which the ledger does not have.
_OF_RATIOS = frozenset(("shared_group", "tokens_span_gpus", "no_baseline"))
# Reasons of tokens, which apply only to entries that are divided like tokens.
_OF_TOKENS = frozenset(("counts_at_request_end", "tokens_uncovered", "no_latency_histogram"))


def ledger(
    views: Iterable[NodeView],
    by: Sequence[Dimension],
    where: Where = EVERYTHING,
    *,
    is_whole: bool = True,
) -> tuple[LedgerItem, ...]:
    """One tree for each group of the fleet by *by*."""
    fleet = Fleet(views, by, where, is_whole=is_whole)
    books = {view.node: NodeLedger(view, view.parts) for view in fleet.views.values() if view.parts}
    shares = _shares(fleet)
    return tuple(_ItemBuilder(group, fleet, books, shares).item() for group in fleet.groups())


def _shares(fleet: Fleet) -> dict[EngineKey, Shares]:
    """The shares of active joules of each engine; its members on several nodes count together."""
    counts: dict[EngineKey, list[Counts]] = {}
    for view in fleet.views.values():
        for part in view.parts.by_workload if view.parts else ():
            if part.counts is not None:
                counts.setdefault(part.owner.engine_key, []).append(part.counts)
    return {engine: active_shares(several) for engine, several in counts.items()}


class _ItemBuilder:
    """Builder of the item of one group."""

    def __init__(
        self,
        group: Group,
        fleet: Fleet,
        books: Mapping[str, NodeLedger],
        shares: Mapping[EngineKey, Shares],
    ) -> None:
        self._group = group
        self._views = fleet.views
        self._sums = sums_of(group, fleet)
        self._bookings = [
            books[part.owner.node].book(part, shares.get(part.owner.engine_key, UNDECIDED_SHARES))
            for part in group.parts
            if part.owner.node in books
        ]
        self._tree = LedgerTree(self._bookings)
        self._total = self._tree.total

    def item(self) -> LedgerItem:
        sums, tree = self._sums, self._tree
        found = self._reasons("facility") | sums.bill.reasons
        throttled = self._throttled_seconds()
        return LedgerItem(
            group=self._group.labels,
            boundary=tree.boundary,
            window=self._window(),
            energy_joules=self._total.joules,
            currency=sums.bill.currency,
            carbon_kind=sums.bill.carbon_kind,
            tree=self._entry(leaves.TREE),
            throttled_seconds=throttled,
            power_capped_seconds=_power_capped(throttled),
            coverage_ratio=sums.by_boundary[tree.boundary].coverage_ratio,
            largest_gap_seconds=sums.largest_gap_seconds,
            age_seconds=sums.age_seconds,
            provenance=_ordered(self._total.provenance),
            valid=is_valid(found),
            reasons=ordered(found),
        )

    def _window(self) -> Window | None:
        """The readings between which the nodes' boards were measured: the tree includes waiting joules."""
        nodes = ((self._views[part.owner.node].parts, part.gpus.weight) for part in self._group.parts)
        return mean_window((parts.start_unix, parts.end_unix, weight) for parts, weight in nodes if parts)

    def _entry(self, entry: Entry) -> LedgerEntry:
        amount = self._tree.amount(entry)
        found = self._entry_reasons(entry, is_known=amount.joules is not None)
        return LedgerEntry(
            name=entry.name,
            energy_joules=amount.joules,
            share_ratio=quotient(amount.joules, self._total.joules),
            cost=amount.cost if self._sums.bill.currency else None,
            grams_co2e=amount.grams if self._sums.bill.carbon_kind else None,
            relative_uncertainty=amount.uncertainty_ratio,
            provenance=_ordered(amount.provenance),
            valid=is_valid(found),
            reasons=ordered(found),
            children=tuple(map(self._entry, entry.children)),
        )

    def _entry_reasons(self, entry: Entry, *, is_known: bool) -> set[str]:
        """The reasons of an entry, with why it is null if it is."""
        boundary = leaves.boundary_of(entry)
        found = self._reasons(boundary)
        if leaves.is_active_leaf(entry):
            found |= self._sums.reasons & _OF_TOKENS
        if boundary == "node" and entry != leaves.NODES:
            found = found.union(*(one.reasons for one in self._bookings))
            # What no board meter measures is part of the rest.
            found |= self._sums.by_boundary["gpu_board"].reasons
        if not is_known and boundary == "gpu_board" and self._total.joules is not None:
            found.add("not_judged")
        return found

    def _reasons(self, boundary: Boundary) -> set[str]:
        """The reasons of everything at *boundary*."""
        place = self._sums.by_boundary[boundary]
        found = set((self._sums.reasons | place.reasons) - _OF_RATIOS - _OF_TOKENS)
        if place.coverage_ratio < MIN_COVERAGE_RATIO:
            found.add("coverage_low")
        if not any(one.totals for one in self._bookings):
            found.add("no_energy")
        return found

    def _throttled_seconds(self) -> dict[str, float]:
        """Throttled seconds by reason, of every GPU of the group once."""
        seconds: dict[str, float] = {}
        gpus = {(part.owner.node, gpu) for part in self._group.parts for gpu in part.gpus.uuids}
        for node, gpu in sorted(gpus):
            parts = self._views[node].parts
            for reason, own in parts.throttled_seconds.get(gpu, {}).items() if parts else ():
                seconds[reason] = seconds.get(reason, 0.0) + own
        return seconds


def _power_capped(throttled: Mapping[str, float]) -> float | None:
    """None where no board reports the time at its own cap, as GeForce boards of Turing do not."""
    own, brake = (throttled.get(reason) for reason in POWER_CAPS)
    return None if own is None else own + (brake or 0.0)


def _ordered(provenance: frozenset[str]) -> tuple[Provenance, ...]:
    return tuple(source for source in PROVENANCES if source in provenance)
