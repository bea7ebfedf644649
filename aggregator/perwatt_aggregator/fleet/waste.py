"""Tokens that nobody got, told apart by cause."""

from collections.abc import Sequence

from perwatt_aggregator.schema.efficiency import Wasted
from perwatt_aggregator.window.window import Counts


def wasted_of(counts: Sequence[Counts]) -> Wasted:
    """Add up what several engines wasted; a cause is None where not all of those with output tell of it."""
    causes = [count.wasted for count in counts if count.output is not None]
    return Wasted(**{cause: _sum([one.get(cause) for one in causes]) for cause in Wasted.__struct_fields__})


def _sum(amounts: Sequence[float | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return round(sum(known)) if known and len(known) == len(amounts) else None
