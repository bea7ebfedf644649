"""Reasons: the complete list of why a figure is not valid, and of notes on valid ones."""

from collections.abc import Iterable

from perwatt_aggregator.validity import compute, doubtful, facility, missing, notes
from perwatt_aggregator.validity.reason import Reason

TABLE: tuple[Reason, ...] = (
    *missing.TABLE,
    *doubtful.TABLE,
    *compute.TABLE,
    *facility.TABLE,
    *notes.TABLE,
)

NAMES: tuple[str, ...] = tuple(reason.name for reason in TABLE)
_INVALIDATING = frozenset(reason.name for reason in TABLE if reason.invalidates)
_ORDER = {name: place for place, name in enumerate(NAMES)}


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Each of *names* once, in the table's order. Raises KeyError for a name that is not in it."""
    return tuple(sorted(set(names), key=_ORDER.__getitem__))


def is_valid(names: Iterable[str]) -> bool:
    """Whether a figure with these reasons is valid."""
    return _INVALIDATING.isdisjoint(names)
