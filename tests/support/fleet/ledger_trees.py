"""Trees of the ledger, laid flat."""

from collections.abc import Iterator

from perwatt_aggregator.schema.ledger import LedgerEntry, LedgerItem


def entries(tree: LedgerEntry) -> Iterator[LedgerEntry]:
    """Every entry of a tree, branches before what they hold."""
    yield tree
    for child in tree.children:
        yield from entries(child)


def flat(item: LedgerItem) -> dict[str, LedgerEntry]:
    """The entries of a tree by name."""
    return {entry.name: entry for entry in entries(item.tree)}


def joules(item: LedgerItem) -> dict[str, float]:
    """The leaves that hold anything, by name."""
    leaves = (entry for entry in entries(item.tree) if not entry.children)
    return {leaf.name: leaf.energy_joules for leaf in leaves if leaf.energy_joules}
