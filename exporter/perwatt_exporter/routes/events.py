"""GET /v1/events: what happened on this node, newest first."""

from datetime import datetime, timezone
from typing import Annotated
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from perwatt_agent.diagnosis.event_ring import MAX_EVENTS, EventRing
from perwatt_agent.facts.event import Event, EventKind, Severity
from perwatt_exporter.http.asgi import Handler, Response, Scope
from perwatt_exporter.http.problem import problem

DEFAULT_LIMIT = 100

Text = Annotated[str, Meta(max_length=2_000)]
"""Bounded, because the aggregator takes it from whoever answers."""


class EventItem(Struct, frozen=True):
    """One event; what its kind does not have is null or empty."""

    number: int
    time: Text
    kind: EventKind
    severity: Severity
    message: Text
    gpu: Text | None
    workload: Text | None
    before: Text | None
    after: Text | None
    reasons: Annotated[tuple[Text, ...], Meta(max_length=100)]
    xid: int | None


class Events(Struct, frozen=True):
    """Events, newest first. `next` is the cursor to ask with for what comes after the newest."""

    items: tuple[EventItem, ...]
    next: Text
    schema_version: int = 1


class _BadParameter(Exception):
    """What a client asked cannot be answered; the message says what can."""


def events_handler(ring: EventRing) -> Handler:
    """Answer from the ring, or with a problem where a parameter cannot be used."""

    def handle(scope: Scope) -> Response:
        try:
            since, limit = _parameters(scope.get("query_string", b"").decode("latin-1"), ring.run)
        except _BadParameter as error:
            return problem(422, str(error))
        items = tuple(map(_item, ring.newest(since, limit)))
        body = msgspec.json.encode(Events(items, f"{ring.run}-{ring.last}"))
        return Response(200, "application/json", body, ((b"cache-control", b"no-store"),))

    return handle


def _parameters(query: str, run: str) -> tuple[int, int]:
    """The number after which events are wanted, and how many at most. Raises _BadParameter."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError:
        raise _BadParameter("The query cannot be read; use since=CURSOR and limit=NUMBER.") from None
    given = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= {"since", "limit"}:
        raise _BadParameter("There are the parameters since and limit, each at most once.")
    return _since(given.get("since"), run), _limit(given.get("limit", str(DEFAULT_LIMIT)))


def _since(cursor: str | None, run: str) -> int:
    if cursor is None:
        return 0
    of_run, dash, number = cursor.rpartition("-")
    if not (dash and of_run.isalnum() and number.isascii() and number.isdecimal() and len(cursor) <= 40):
        raise _BadParameter("since: expected the `next` of an earlier answer.")
    # A cursor of an earlier run of the agent: all that this run has seen came after it.
    return int(number) if of_run == run else 0


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_EVENTS):
        raise _BadParameter(f"limit: expected a whole number from 1 to {MAX_EVENTS}.")
    return int(text)


def _item(event: Event) -> EventItem:
    return EventItem(
        number=event.number,
        time=datetime.fromtimestamp(event.unix_seconds, timezone.utc).isoformat(timespec="milliseconds"),
        kind=event.kind,
        severity=event.severity,
        message=event.message,
        gpu=event.gpu or None,
        workload=event.workload or None,
        before=event.before or None,
        after=event.after or None,
        reasons=event.reasons,
        xid=event.xid,
    )
