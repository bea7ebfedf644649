"""Parameters of the API: patterns for validation, and functions that parse them."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

from fastapi import Query
from msgspec import Struct

from perwatt_aggregator.api.paging import CURSOR, MAX_LIMIT, Page, sort_fields
from perwatt_aggregator.fleet.groups import Where
from perwatt_aggregator.schema.common import BOUNDARIES, Boundary

MAX_FILTER_LENGTH = 4096
PAGE = frozenset(("sort", "limit", "cursor"))

MIN_WINDOW_SECONDS = 10
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


ALL_BOUNDARIES = ",".join(BOUNDARIES)


def seconds_of(window: str) -> float:
    """The seconds of a duration such as 60s, 5m or 1h."""
    return float(int(window[:-1]) * _UNIT_SECONDS[window[-1]])


def dimensions_of(by: str) -> tuple[str, ...]:
    """The dimensions in a list such as model,node; a repeated one counts once."""
    return tuple(dict.fromkeys(name for name in by.split(",") if name))


def boundaries_of(boundary: str) -> tuple[Boundary, ...]:
    """The boundaries in a list such as node,facility."""
    return tuple(one for one in BOUNDARIES if one in boundary.split(","))


def filters(names: Iterable[str]) -> Callable[..., Awaitable[Where]]:
    """A dependency that reads the filters *names* from the parameters of a request."""
    names = tuple(names)

    async def read(**values: str | None) -> Where:
        given = ((name, values[f"filter_{index}"]) for index, name in enumerate(names))
        return {name: frozenset(value.split(",")) for name, value in given if value is not None}

    read.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # FastAPI reads the parameters from it
        [
            inspect.Parameter(
                f"filter_{index}",
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    str | None,
                    Query(
                        alias=name,
                        max_length=MAX_FILTER_LENGTH,
                        description=f"Only what has one of these values of `{name}`, separated by commas; an "
                        "empty value is that of what has none.",
                    ),
                ],
            )
            for index, name in enumerate(names)
        ]
    )
    return read


def paging(item: type[Struct], dimensions: Iterable[str] = ()) -> Callable[..., Awaitable[Page]]:
    """A dependency that reads how items are sorted and cut; groups are also sorted by *dimensions*."""
    names = tuple(dict.fromkeys((*sort_fields(item), *dimensions)))
    fields = "|".join(map(re.escape, names))

    async def read(
        sort: Annotated[
            str | None,
            Query(
                pattern=f"^-?(?:{fields})$",
                description="Field to sort by, after a `-` in descending order; null comes last. One of "
                f"{', '.join(names)}.",
            ),
        ] = None,
        limit: Annotated[
            int | None, Query(ge=1, le=MAX_LIMIT, description=f"Maximum number of items, 1 to {MAX_LIMIT}.")
        ] = None,
        cursor: Annotated[
            str | None,
            Query(pattern=CURSOR, description="The `next` of the page before; all else stays the same."),
        ] = None,
    ) -> Page:
        return Page(sort, limit, cursor)

    return read


def grouping(dimensions: tuple[str, ...], *examples: str) -> Any:
    """The parameter `by`."""
    return Query(
        pattern=list_pattern(dimensions, may_be_empty=True),
        description="Dimensions to group by, separated by commas; empty for no grouping. Of "
        f"{', '.join(dimensions)}.",
        examples=list(examples),
    )


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


Boundaries = Annotated[
    str,
    Query(
        pattern=list_pattern(BOUNDARIES, may_be_empty=False),
        description="Boundaries of the energy: GPU boards, nodes at their power inlets, the whole facility.",
        examples=["node", "gpu_board,facility"],
    ),
]
