"""Ledger tree of one group: bookings added up, leaves to branches and branches to the total."""

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
"""The entry with the total at each boundary, the widest first."""


class Amount(Struct, frozen=True):
    """The content of one entry; None if it is not known, or not divided further."""

    joules: float | None
    cost: float | None
    grams: float | None
    uncertainty_ratio: float | None
    provenance: frozenset[str]


NOTHING_KNOWN = Amount(None, None, None, None, frozenset())


class LedgerTree:
    """The amount of each entry for one group. `boundary` is the widest one with a known total."""

    def __init__(self, bookings: Sequence[Booking]) -> None:
        self._bookings = bookings
        self._lines: dict[str, list[tuple[FacilityState, Line]]] = defaultdict(list)
        for one in bookings:
            for line in one.lines:
                self._lines[line.name].append((one.facility, line))
        self._totals: dict[str, list[Line]] = defaultdict(list)
        for one in bookings:
            for line in one.totals:
                self._totals[line.name].append(line)
        self.boundary: Boundary = next(
            (place for place, entry in _TOTALS.items() if self._is_complete(entry)), "gpu_board"
        )

    @property
    def total(self) -> Amount:
        """The amount of the whole tree."""
        return self.amount(_TOTALS[self.boundary])

    def reaches(self, entry: Entry) -> bool:
        """Whether the boundary of the tree includes *entry*."""
        return BOUNDARIES.index(leaves.boundary_of(entry)) <= BOUNDARIES.index(self.boundary)

    def amount(self, entry: Entry) -> Amount:
        """The amount of *entry*; nothing is known of entries beyond the boundary of the tree."""
        if not self.reaches(entry) or not self._is_known(entry):
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

    def _is_complete(self, entry: Entry) -> bool:
        """Whether the total is known for every part with energy: a sum without one is another quantity."""
        measured = [one for one in self._bookings if one.totals]
        return bool(measured) and all(any(line.name == entry.name for line in one.totals) for one in measured)

    def _is_known(self, entry: Entry) -> bool:
        """
        Whether the amount of *entry* is known.

        Board joules are known leaf by leaf: a leaf without a line is zero, except for active joules that are
        undecided. A leaf of the host without a line is only not divided further.
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
