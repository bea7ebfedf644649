"""
Catalog of the engines that perwatt understands: the rows of every file in `perwatt_agent.engine.kinds`.

To add an engine, add a file there. Nothing else in the packages names an engine.
"""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from perwatt_agent.engine import kinds
from perwatt_agent.engine.kind import CountsAt, EngineKind


def _rows() -> Iterator[EngineKind]:
    for file in iter_modules(kinds.__path__, f"{kinds.__name__}."):
        yield from import_module(file.name).ROWS


# The first row that recognises a page has it, and the first whose launch matches a program.
ENGINES: tuple[EngineKind, ...] = tuple(sorted(_rows(), key=lambda kind: (kind.tried_last, kind.name)))

_FRONTENDS = frozenset(kind.name for kind in ENGINES if kind.frontend)
_COUNTS_AT: dict[str, CountsAt] = {kind.name: kind.counts_at for kind in ENGINES}


def counts_at(engine: str) -> CountsAt:
    """
    Return when the counters of the engine of that name move.

    An engine from the configuration counts as "request_end", the cautious assumption, as its name alone
    does not tell. An empty name is no engine, so nothing needs to wait for its counters: "live".
    """
    return _COUNTS_AT.get(engine, "request_end") if engine else "live"


def engine_names() -> tuple[str, ...]:
    """Return the engine names that the configuration accepts: those with a page."""
    return tuple(kind.name for kind in ENGINES if not kind.also and (kind.recognised_by or kind.shows))


def is_frontend(engine: str) -> bool:
    """Return whether the engine of that name counts tokens that other engines generate."""
    return engine in _FRONTENDS
