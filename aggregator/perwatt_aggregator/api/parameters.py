"""The parameters of the API: patterns that a client can check by, and what the texts mean."""

import re
from typing import TypeVar

from perwatt_aggregator.schema.common import BOUNDARIES, Boundary

D = TypeVar("D", bound=str)

MIN_WINDOW_SECONDS = 10
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(window: str) -> float:
    """Return a duration such as 60s, 5m or 1h in seconds."""
    return float(int(window[:-1]) * _UNIT_SECONDS[window[-1]])


def dimensions_of(by: str, known: tuple[D, ...]) -> tuple[D, ...]:
    """Return those of *known* that a list such as model,node names; one that is named twice counts once."""
    named = dict.fromkeys(by.split(","))
    return tuple(dimension for name in named for dimension in known if dimension == name)


def boundaries_of(boundary: str) -> tuple[Boundary, ...]:
    """Return the boundaries of a list such as node,facility."""
    return tuple(one for one in BOUNDARIES if one in boundary.split(","))


def window_pattern(max_seconds: int) -> str:
    """A pattern of all durations from MIN_WINDOW_SECONDS to *max_seconds*, and of nothing else."""
    units = []
    for unit, seconds in _UNIT_SECONDS.items():
        low, high = -(-MIN_WINDOW_SECONDS // seconds), max_seconds // seconds
        if low <= high:
            units.append(f"(?:{number_pattern(low, high)}){unit}")
    return f"^(?:{'|'.join(units)})$"


def list_pattern(names: tuple[str, ...], *, may_be_empty: bool) -> str:
    """A pattern of lists of *names* with commas between."""
    one = "|".join(map(re.escape, names))
    many = f"(?:{one})(?:,(?:{one}))*"
    return f"^(?:{many})?$" if may_be_empty else f"^{many}$"


def number_pattern(low: int, high: int) -> str:
    """A pattern of the whole numbers from *low* to *high*, both at least 0, without leading zeros."""
    return "|".join(_digits_pattern(start, end) for start, end in _decades(low, high))


def _decades(low: int, high: int) -> list[tuple[int, int]]:
    """Cut a range so that in each piece only trailing digits run, and all of those from 0 to 9."""
    pieces = []
    while low <= high:
        step = 1
        while low % (step * 10) == 0 and low and low + step * 10 - 1 <= high:
            step *= 10
        # As many steps as fit before the next digit must change.
        count = 1
        while (low // step) % 10 + count < 10 and low + (count + 1) * step - 1 <= high:
            count += 1
        pieces.append((low, low + count * step - 1))
        low += count * step
    return pieces


def _digits_pattern(start: int, end: int) -> str:
    pairs = zip(str(start), str(end), strict=True)
    return "".join(first if first == last else f"[{first}-{last}]" for first, last in pairs)
