"""Reasons that pass by themselves while the first window fills."""

from collections.abc import Iterable

from perwatt_aggregator.validity.all import is_valid

# Joules of the first seconds, in which engines were not found yet, leave the window once it is full.
_WHILE_FILLING = frozenset(("coverage_low", "too_few_readings", "unexplained"))
# Before a window has enough readings, these are not known to be true yet.
_BEFORE_READINGS = frozenset(("no_energy", "no_joules", "no_token_source", "node_never_seen"))


def passes_by_itself(reasons: Iterable[str], *, has_readings: bool) -> bool:
    """Whether a figure with *reasons* is not valid now, and needs nothing but time to become valid."""
    names = frozenset(reasons)
    curable = _WHILE_FILLING if has_readings else _WHILE_FILLING | _BEFORE_READINGS
    return not is_valid(names) and is_valid(names - curable)
