"""Bookings summed into the tree: leaves add up to branches, and all of them to the whole."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from perwatt_aggregator.answers.ledger.booking import Booking, Line
from perwatt_aggregator.attribution import leaves
from perwatt_aggregator.attribution.leaves import Entry
from perwatt_aggregator.facility.state import FacilityState
from perwatt_aggregator.optional import total_of_products
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary
from perwatt_aggregator.validity.uncertainty import of_sum

_Rate = Callable[[FacilityState], float | None]
_TOTALS: Mapping[Boundary, Entry] = {
    "facility": leaves.TREE,
    "node": leaves.NODES,
    "gpu_board": leaves.BOARDS,
}
"""The totals that stand at a boundary of their own, the widest first."""


class Amount(Struct, frozen=True):
    """What one entry holds; None is what is not known, or not told apart."""

    joules: float | None
    cost: float | None
    grams: float | None
    uncertainty_ratio: float | None
    provenance: frozenset[str]


NOTHING_KNOWN = Amount(None, None, None, None, frozenset())


class LedgerTree:
    """The ledger of one group: what each entry of the tree holds. `boundary` is how far it reaches."""

    def __init__(self, booked: Sequence[Booking]) -> None:
        self._booked = booked
        self._lines: dict[str, list[tuple[FacilityState, Line]]] = defaultdict(list)
        for one in booked:
            for line in one.lines:
                self._lines[line.name].append((one.facility, line))
        self._totals: dict[str, list[Line]] = defaultdict(list)
        for one in booked:
            for line in one.totals:
                self._totals[line.name].append(line)
        self.boundary: Boundary = next(
            (place for place, whole in _TOTALS.items() if self._is_complete(whole)), "gpu_board"
        )

    @property
    def whole(self) -> Amount:
        """All that the tree holds."""
        return self.amount(_TOTALS[self.boundary])

    def reaches(self, entry: Entry) -> bool:
        """Whether the tree reaches as far as *entry*."""
        return BOUNDARIES.index(leaves.boundary_of(entry)) <= BOUNDARIES.index(self.boundary)

    def amount(self, entry: Entry) -> Amount:
        """What *entry* holds: nothing that is known where the tree does not reach as far."""
        if not self.reaches(entry) or not self._is_told(entry):
            return NOTHING_KNOWN
        found = [one for leaf in entry.leaves() for one in self._lines.get(leaf.name, ())]
        own = self._totals.get(entry.name) or [line for _, line in found]
        return Amount(
            joules=sum((line.joules for _, line in found), 0.0),
            cost=_at(found, lambda facility: facility.price.per_joule if facility.price else None),
            grams=_at(found, lambda facility: facility.carbon.grams_per_joule if facility.carbon else None),
            uncertainty_ratio=of_sum((line.joules, line.uncertainty_ratio) for line in own),
            provenance=frozenset().union(*(line.provenance for _, line in found if line.joules)),
        )

    def _is_complete(self, whole: Entry) -> bool:
        """Whether it is known of everyone who took anything; a sum that silently lacks one is another."""
        took = [one for one in self._booked if one.totals]
        return bool(took) and all(any(line.name == whole.name for line in one.totals) for one in took)

    def _is_told(self, entry: Entry) -> bool:
        """
        Whether anything is known of what *entry* holds.

        What boards took is known leaf by leaf, so that a leaf without a line holds nothing, but for work
        that nobody active_shares. Of the host a leaf without a line is merely not told apart.
        """
        if any(leaf.name in self._lines for leaf in entry.leaves()):
            return True
        if leaves.boundary_of(entry) != "gpu_board" or leaves.BOARDS.name not in self._totals:
            return False
        if not leaves.is_active_leaf(entry):
            return True
        return not any(line.joules for _, line in self._lines.get(leaves.UNDECIDED, ()))


def _at(lines: Iterable[tuple[FacilityState, Line]], rate: _Rate) -> float | None:
    """Joules at the rates of their facilities."""
    return total_of_products(((line.joules, rate(facility)) for facility, line in lines), empty=0.0)
