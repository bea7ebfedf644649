"""
Ledger families: gauges of the default window, by facility and leaf.

They cannot be counters: whether a joule was useful is known only when its request has ended, and waiting
joules may decrease.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.schema.common import CARBON_KINDS
from perwatt_aggregator.schema.ledger import LedgerEntry, LedgerItem
from perwatt_exporter.page.family import Family, Sample

S = TypeVar("S")
Items = Callable[[S], Sequence[LedgerItem]]
LEAVES = tuple(leaf.name for leaf in leaves.TREE.leaves())


def ledger_families(items: Items[S], window: str) -> tuple[Family[S], ...]:
    """The families of a page made from S, in which *items* finds the ledger by facility over *window*."""
    closed = {"leaf": LEAVES, "window": (window,)}
    return (
        Family(
            "perwatt_ledger_energy_joules",
            "gauge",
            "Where the facility's joules of the window went, by leaf as in /v1/ledger?by=facility; "
            "together the total as far as it is known. Absent if not known; the leaf `waiting` may be "
            "below zero.",
            ("facility", "leaf", "window"),
            _reader(items, lambda item: (window,), lambda entry: entry.energy_joules),
            closed,
        ),
        Family(
            "perwatt_ledger_cost",
            "gauge",
            "Cost of the joules of the leaf, in the currency of the label.",
            ("facility", "leaf", "window", "currency"),
            _reader(items, lambda item: (window, item.currency or ""), lambda entry: entry.cost),
            closed,
        ),
        Family(
            "perwatt_ledger_carbon_grams",
            "gauge",
            "Grams of CO2 equivalent of the joules of the leaf.",
            ("facility", "leaf", "window", "kind"),
            _reader(items, lambda item: (window, item.carbon_kind or ""), lambda entry: entry.grams_co2e),
            closed | {"kind": CARBON_KINDS},
        ),
    )


def _reader(
    items: Items[S],
    labels: Callable[[LedgerItem], tuple[str, ...]],
    value: Callable[[LedgerEntry], float | None],
) -> Callable[[S], Iterator[Sample]]:
    def read(page: S) -> Iterator[Sample]:
        for item in items(page):
            for leaf in _leaves(item.tree):
                if (amount := value(leaf)) is not None:
                    yield (item.group["facility"] or "", leaf.name, *labels(item)), amount

    return read


def _leaves(entry: LedgerEntry) -> Iterator[LedgerEntry]:
    if not entry.children:
        yield entry
    for child in entry.children:
        yield from _leaves(child)
