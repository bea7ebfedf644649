"""Parameters of the API: patterns for validation, and functions that parse them."""

import re
from typing import TypeVar

from perwatt_aggregator.schema.common import BOUNDARIES, Boundary

D = TypeVar("D", bound=str)

MIN_WINDOW_SECONDS = 10
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(window: str) -> float:
    """The seconds of a duration such as 60s, 5m or 1h."""
    return float(int(window[:-1]) * _UNIT_SECONDS[window[-1]])


def dimensions_of(by: str, known: tuple[D, ...]) -> tuple[D, ...]:
    """The members of *known* in a list such as model,node; a repeated one counts once."""
    named = dict.fromkeys(by.split(","))
    return tuple(dimension for name in named for dimension in known if dimension == name)


def boundaries_of(boundary: str) -> tuple[Boundary, ...]:
    """The boundaries in a list such as node,facility."""
    return tuple(one for one in BOUNDARIES if one in boundary.split(","))


def window_pattern(max_seconds: int) -> str:
    """A pattern for exactly the durations from MIN_WINDOW_SECONDS to *max_seconds*."""
    units = []
    for unit, seconds in _UNIT_SECONDS.items():
        low, high = -(-MIN_WINDOW_SECONDS // seconds), max_seconds // seconds
        if low <= high:
            units.append(f"(?:{number_pattern(low, high)}){unit}")
    return f"^(?:{'|'.join(units)})$"


def list_pattern(names: tuple[str, ...], *, may_be_empty: bool) -> str:
    """A pattern for lists of *names* separated by commas."""
    one = "|".join(map(re.escape, names))
    many = f"(?:{one})(?:,(?:{one}))*"
    return f"^(?:{many})?$" if may_be_empty else f"^{many}$"


def number_pattern(low: int, high: int) -> str:
    """A pattern for the integers from *low* to *high*, both at least 0, without leading zeros."""
    return "|".join(_digits_pattern(start, end) for start, end in _decades(low, high))


def _decades(low: int, high: int) -> list[tuple[int, int]]:
    """Split a range into pieces in which only trailing digits vary, each of them from 0 to 9."""
    pieces = []
    while low <= high:
        step = 1
        while low % (step * 10) == 0 and low and low + step * 10 - 1 <= high:
            step *= 10
        # As many steps as possible before the next digit changes.
        count = 1
        while (low // step) % 10 + count < 10 and low + (count + 1) * step - 1 <= high:
            count += 1
        pieces.append((low, low + count * step - 1))
        low += count * step
    return pieces


def _digits_pattern(start: int, end: int) -> str:
    pairs = zip(str(start), str(end), strict=True)
    return "".join(first if first == last else f"[{first}-{last}]" for first, last in pairs)
