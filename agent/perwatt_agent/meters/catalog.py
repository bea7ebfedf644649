"""
Catalog of the meter kinds: the rows of every file in `perwatt_agent.meters.kinds`, most trusted first.

To add a meter, add a file there. Nothing else in the packages names a kind of meter.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from pkgutil import iter_modules

from perwatt_agent.meters import kinds
from perwatt_agent.meters.kind import MeterKind


def _rows() -> Iterator[MeterKind]:
    for file in iter_modules(kinds.__path__, f"{kinds.__name__}."):
        yield import_module(file.name).ROW


METERS: tuple[MeterKind, ...] = tuple(sorted(_rows(), key=lambda kind: kind.rank))

UNKNOWN_RANK = 19
"""A source that is not in the catalog comes from a recording: it ranks as a meter that somebody chose."""
_RANKS = {kind.name: kind.rank for kind in METERS}


def configured_kinds(meters: Sequence[MeterKind] = METERS) -> dict[str, MeterKind]:
    """Return the kinds that `kind:` can name, by name."""
    return {kind.name: kind for kind in meters if kind.is_configured}


def figure_kinds(meters: Sequence[MeterKind] = METERS) -> tuple[str, ...]:
    """Return the names of the kinds that read a bare number, which can also be a price."""
    return tuple(kind.name for kind in meters if kind.read_figure is not None)


def source_labels(meters: Sequence[MeterKind] = METERS) -> tuple[str, ...]:
    """Return the values that `source:` can have."""
    return tuple(kind.name for kind in meters if kind.is_configured or kind.is_label)


def rank_of(source: str) -> int:
    """Return how far down a source stands in the order of trust; the lowest is trusted most."""
    return _RANKS.get(source, UNKNOWN_RANK)
