"""Answers over HTTP: JSON with an entity tag, which a client that has it already gets no second time."""

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from msgspec.structs import replace

from perwatt_aggregator.api.paging import Page, TooManyItems, paged
from perwatt_aggregator.fleet.groups import TooManyGroups
from perwatt_aggregator.schema.common import Source

JSON = "application/json"
# What only says how old the readings are is no other answer.
_AGE = re.compile(rb'"age_seconds":[-+.0-9e]+')


class Answering:
    """Writes answers that may be kept for *interval_seconds*, the time between two readings."""

    def __init__(self, interval_seconds: float) -> None:
        self._cache_control = f"max-age={max(1, math.floor(interval_seconds))}"

    def page(
        self, request: Request, page: Page, answer: Callable[[], Any], source: Source = "agents"
    ) -> Response:
        """One page of *answer* from *source*. Raises RequestValidationError for one that is too large."""
        try:
            whole = answer()
            items, following = paged(whole.items, page)
        except TooManyGroups as error:
            raise refused("by", f"expected fewer groups: {error}") from None
        except TooManyItems as error:
            raise refused("limit", f"expected a limit: {error}") from None
        if source != "agents":
            items = tuple(replace(item, source=source) for item in items)
        return self.json(request, replace(whole, items=items, next=following))

    def json(self, request: Request, answer: Struct | tuple[Struct, ...]) -> Response:
        """*answer* with its tag; only the tag if the client has it."""
        body = msgspec.json.encode(answer)
        tag = f'W/"{hashlib.blake2b(_AGE.sub(b"", body), digest_size=12).hexdigest()}"'
        headers = {"etag": tag, "cache-control": self._cache_control}
        known = request.headers.get("if-none-match", "")
        if known and (known.strip() == "*" or tag in (one.strip() for one in known.split(","))):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=JSON, headers=headers)


def refused(parameter: str, message: str) -> RequestValidationError:
    """What to raise for a *parameter* that a pattern cannot refuse."""
    return RequestValidationError([{"loc": ("query", parameter), "msg": message}])
