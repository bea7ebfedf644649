"""GET /v1/events: what happened on this node, newest first."""

from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from perwatt_agent.diagnosis.event_ring import MAX_EVENTS, EventRing
from perwatt_agent.facts.event import Event, Text
from perwatt_exporter.http.asgi import Handler, Response, Scope
from perwatt_exporter.http.problem import problem

DEFAULT_LIMIT = 100


class EventItem(Event, frozen=True):
    """One event of this agent, with its number. A part that its kind does not have is null or empty."""

    number: int


class Events(Struct, frozen=True):
    """Events, newest first. `next` is the cursor to ask with for what comes after the newest."""

    items: tuple[EventItem, ...]
    next: Text
    schema_version: int = 1


class _BadParameter(Exception):
    """What a client asked cannot be answered; the message says what can."""


def events_handler(ring: EventRing[Event]) -> Handler:
    """Answer from the ring, or with a problem where a parameter cannot be used."""

    def handle(scope: Scope) -> Response:
        try:
            since, limit = _parameters(scope.get("query_string", b"").decode("latin-1"), ring)
        except _BadParameter as error:
            return problem(422, str(error))
        newest = ring.newest(since, limit)
        items = tuple(_item(ring.last - index, event) for index, event in enumerate(newest))
        body = msgspec.json.encode(Events(items, ring.cursor))
        return Response(200, "application/json", body, ((b"cache-control", b"no-store"),))

    return handle


def _parameters(query: str, ring: EventRing[Event]) -> tuple[int, int]:
    """The number after which events are wanted, and how many at most. Raises _BadParameter."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError:
        raise _BadParameter("The query cannot be read; use since=CURSOR and limit=NUMBER.") from None
    given = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= {"since", "limit"}:
        raise _BadParameter("There are the parameters since and limit, each at most once.")
    return _since(given.get("since"), ring), _limit(given.get("limit", str(DEFAULT_LIMIT)))


def _since(cursor: str | None, ring: EventRing[Event]) -> int:
    if cursor is None:
        return 0
    of_run, dash, number = cursor.rpartition("-")
    if not (dash and of_run.isalnum() and number.isascii() and number.isdecimal() and len(cursor) <= 40):
        raise _BadParameter("since: expected the `next` of an earlier answer.")
    return ring.number_of(cursor)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_EVENTS):
        raise _BadParameter(f"limit: expected a whole number from 1 to {MAX_EVENTS}.")
    return int(text)


def _item(number: int, event: Event) -> EventItem:
    return EventItem(number, **asdict(event))
