"""The endpoint `/v1/history`, and the parameters of its steps."""

import math
import re
from collections.abc import Awaitable
from datetime import datetime, timezone
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, Query, Request, Response
from starlette.exceptions import HTTPException

from perwatt_aggregator.aggregator import HISTORY_SECONDS, Aggregator
from perwatt_aggregator.answers.history.series import MAX_POINTS, MAX_STEPS, TooManyPoints
from perwatt_aggregator.api.answering import Answering, refused
from perwatt_aggregator.api.endpoint import endpoint
from perwatt_aggregator.api.paging import Page
from perwatt_aggregator.api.parameters import (
    ALL_BOUNDARIES,
    PAGE,
    Boundaries,
    boundaries_of,
    dimensions_of,
    filters,
    grouping,
    paging,
    seconds_of,
)
from perwatt_aggregator.fleet.groups import TooManyGroups, Where
from perwatt_aggregator.history.config import RESOLUTIONS, HistoryConfig
from perwatt_aggregator.history.history import NoHistory
from perwatt_aggregator.history.reader import HistoryQuery
from perwatt_aggregator.schema.common import DIMENSIONS, Boundary
from perwatt_aggregator.schema.efficiency import Efficiency
from perwatt_aggregator.schema.history import History, HistoryItem

T = TypeVar("T")

DEFAULT_SECONDS = 3600
"""The length of the answer without `from`."""
MAX_STEP_DAYS = 366
_STEP = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_INSTANT = (
    r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
_From = Annotated[
    str | None,
    Query(
        alias="from",
        pattern=_INSTANT,
        description="Start, RFC 3339; an hour before the end if it is not given.",
        examples=["2026-11-21T10:00:00Z"],
    ),
]
_To = Annotated[
    str | None,
    Query(alias="to", pattern=_INSTANT, description="End, RFC 3339; now if it is not given."),
]
_Step = Annotated[
    str,
    Query(
        pattern=f"^{_STEP.pattern}$",
        description="Length of a step: a multiple of a stored resolution, which are "
        f"{', '.join(f'{one} s' for one in RESOLUTIONS.values())}, up to {MAX_STEP_DAYS}d; at most "
        f"{MAX_STEPS} steps and {MAX_POINTS} values of each kind.",
        examples=["1m", "15m"],
    ),
]


def add_history(app: FastAPI, aggregator: Aggregator, answering: Answering) -> None:
    """The history by steps."""
    dimensions = tuple(one for one in (*DIMENSIONS, *aggregator.labels) if one != "gpu")
    where = filters(dimensions)
    by_model = grouping(dimensions, "model", "model,node")
    names = {"from", "to", "step", "by", "boundary", *PAGE, *dimensions}

    @endpoint(app, "/v1/history", History, names)
    async def history(
        request: Request,
        kept: Annotated[Where, Depends(where)],
        page: Annotated[Page, Depends(paging(HistoryItem, dimensions))],
        start: _From = None,
        end: _To = None,
        step: _Step = "1m",
        by: Annotated[str, by_model] = "",
        boundary: Boundaries = ALL_BOUNDARIES,
    ) -> Response:
        """Tokens, joules and what follows from them, by step, group and boundary."""
        query = _query(aggregator, start, end, step, dimensions_of(by), kept)
        answer = await from_history(aggregator.past.series(query, boundaries_of(boundary)))
        return answering.page(request, page, lambda: answer)


async def from_history(answer: Awaitable[T]) -> T:
    """An answer from the history. Raises RequestValidationError for one that is too large."""
    try:
        return await answer
    except TooManyGroups as error:
        raise refused("by", f"expected fewer groups: {error}") from None
    except TooManyPoints as error:
        raise refused("step", f"expected a longer step or fewer groups: {error}") from None
    except NoHistory as error:
        raise HTTPException(503, str(error)) from None


async def past_efficiency(
    aggregator: Aggregator, window: str, by: tuple[str, ...], boundaries: tuple[Boundary, ...], kept: Where
) -> Efficiency:
    """The answer of a window that is longer than what is in memory."""
    if aggregator.past.history is None:
        raise refused("window", f"expected at most {HISTORY_SECONDS:g}s; for longer ones, set `history.path`")
    if "gpu" in by or "gpu" in kept:
        raise refused("window", f"expected at most {HISTORY_SECONDS:g}s by `gpu`, which the history has not")
    return await from_history(aggregator.past.efficiency(seconds_of(window), by, boundaries, kept))


def _query(
    aggregator: Aggregator,
    start: str | None,
    end: str | None,
    step: str,
    by: tuple[str, ...],
    where: Where,
) -> HistoryQuery:
    """The steps that are asked for, whole ones alone. Raises RequestValidationError."""
    now = aggregator.unix_seconds
    end_unix = min(_unix("to", end, now), now)
    start_unix = _unix("from", start, end_unix - DEFAULT_SECONDS)
    found = _STEP.fullmatch(step)
    assert found is not None, "the pattern of the parameter is this one"
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]]
    if seconds > MAX_STEP_DAYS * _UNIT_SECONDS["d"]:
        raise refused("step", f"expected at most {MAX_STEP_DAYS}d")
    config = aggregator.past.history.config if aggregator.past.history is not None else HistoryConfig()
    _check_step(seconds, now - start_unix, config)
    first, last = math.floor(start_unix / seconds) * seconds, math.floor(end_unix / seconds) * seconds
    if first >= last:
        raise refused("from", "expected at least one whole step between `from` and `to`, and not after now")
    if (last - first) // seconds > MAX_STEPS:
        raise refused("step", f"expected at most {MAX_STEPS} steps, not {(last - first) // seconds}")
    return HistoryQuery(first, last, seconds, by, where)


def _check_step(seconds: int, age_seconds: float, config: HistoryConfig) -> None:
    """A step is a multiple of a resolution that still is kept of its start."""
    kept = [one for one, retention in config.retention_seconds.items() if retention >= age_seconds]
    finest = min(kept or config.retention_seconds)
    if not kept:
        finest = max(config.retention_seconds)
    if seconds % finest:
        raise refused("step", f"expected a multiple of {finest}s, the resolution that is kept of `from`")


def _unix(name: str, text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return max(0.0, moment.astimezone(timezone.utc).timestamp())
    except (ValueError, OverflowError):
        raise refused(name, "expected a day that exists, RFC 3339") from None
