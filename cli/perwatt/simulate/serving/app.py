"""ASGI application of the fleet simulator: agents' pages, targets for service discovery, the truth."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from perwatt.simulate.fleet import Fleet
from perwatt.simulate.serving.clock import FleetClock
from perwatt.simulate.serving.targets import targets
from perwatt.simulate.truth import DIMENSIONS, truth
from perwatt_exporter.http.asgi import (
    Receive,
    Response,
    Router,
    Scope,
    Send,
    header,
    plain,
    send_response,
)
from perwatt_exporter.http.negotiate import TEXT
from perwatt_exporter.http.problem import problem
from perwatt_exporter.routes.events import events_handler

DEFAULT_SPAN_SECONDS = 60.0
_JSON = "application/json"

NodeHandler = Callable[[int, Scope], Response | None]
"""Answers for the node of a number; None while it is down."""


class ClockReading(Struct, frozen=True):
    """The answer of `/clock`."""

    unix_seconds: float
    is_manual: bool


class _BadParameter(Exception):
    """A parameter that cannot be used; the message says what can."""


class FleetApp:
    """
    Serves a fleet. The page of node N is at `/node/N/metrics`; a slow page comes late and a frozen one never.

    With a *first_port*, the agent of node N is also at that port plus N. *stop* ends the wait for slow pages.

    A node whose agent is down gets 503: all nodes share one server, which cannot refuse a connection for
    one of them.
    """

    def __init__(
        self,
        fleet: Fleet,
        clock: FleetClock,
        first_port: int | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._first_port = first_port
        self._stop = stop or asyncio.Event()
        self._rest = Router(
            {
                "/": lambda _: self._overview(),
                "/targets": self._targets,
                "/truth": self._truth,
                "/clock": lambda _: self._read_clock(),
                "/-/healthy": lambda _: plain(200, "The simulator is healthy."),
                "/-/ready": lambda _: plain(200, "The simulator is ready."),
            }
        )
        self._pages = {f"/node/{number}/metrics": number for number in range(fleet.plan.nodes)}
        self._events = {f"/node/{number}/v1/events": number for number in range(fleet.plan.nodes)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, is_read = self._path(scope), scope.get("method") in ("GET", "HEAD")
        if is_read and path in self._pages:
            await self._of_node(self._page, self._pages[path], scope, receive, send)
        elif is_read and path in self._events:
            await self._of_node(self._events_of, self._events[path], scope, receive, send)
        elif path == "/clock" and scope["method"] == "POST":
            await send_response(send, self._move_clock(scope))
        else:
            await self._rest(scope, receive, send)

    def _path(self, scope: Scope) -> str:
        """The path, as it is on the port of all nodes."""
        path: str = scope.get("path", "")
        if self._first_port is not None and scope.get("server"):
            number = scope["server"][1] - self._first_port
            if 0 <= number < self._fleet.plan.nodes:
                return f"/node/{number}{path}"
        return path

    async def _of_node(
        self, answer: NodeHandler, number: int, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer for a node, as late as it is reached."""
        now = self._clock.unix()
        stretch = self._fleet.at(number, now).history.stretch(now)
        if stretch.reach == "frozen":
            await _until_gone(receive)
            return
        if stretch.reach == "slow":
            # It ends with the process: a cancelled request would be logged as a fault.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), stretch.delay_seconds)
        response = None if stretch.reach == "unreachable" else answer(number, scope)
        await send_response(send, response or plain(503, "This node is down, as the simulation has it."))

    def _page(self, number: int, _: Scope) -> Response | None:
        body = self._fleet.page(number, self._clock.unix())
        return None if body is None else Response(200, TEXT.content_type, body)

    def _events_of(self, number: int, scope: Scope) -> Response | None:
        ring = self._fleet.event_ring(number, self._clock.unix())
        return None if ring is None else events_handler(ring)(scope)

    def _overview(self) -> Response:
        plan = self._fleet.plan
        lines = (
            f"perwatt simulate: {plan.nodes} nodes of {plan.gpus} GPUs that do not exist.",
            "Nothing here was measured.",
            "",
            "/node/0/metrics               the page of node 0's agent",
            "/targets                      all pages, for Prometheus's http_sd",
            "/truth?from=&to=&by=          true tokens and joules; Unix seconds",
            "/clock                        the time of the fleet",
        )
        return plain(200, "\n".join(lines))

    def _targets(self, scope: Scope) -> Response:
        host = header(scope, b"host") or "{}:{}".format(*scope["server"])
        return Response(200, _JSON, msgspec.json.encode(targets(self._fleet, host, self._first_port)))

    def _truth(self, scope: Scope) -> Response:
        try:
            given = _parameters(scope, ("from", "to", "by"))
            now, start = self._clock.unix(), self._fleet.plan.start_unix_seconds
            end = _number(given, "to", now, start, now)
            begin = _number(given, "from", max(start, end - DEFAULT_SPAN_SECONDS), start, end)
            by = _words(given.get("by", ""), DIMENSIONS)
        except _BadParameter as error:
            return problem(422, str(error))
        answer = truth(self._fleet, begin, end, by)  # type: ignore[arg-type]  # `_words` checked them
        return Response(200, _JSON, msgspec.json.encode(answer))

    def _read_clock(self) -> Response:
        reading = ClockReading(self._clock.unix(), self._clock.is_manual)
        return Response(200, _JSON, msgspec.json.encode(reading))

    def _move_clock(self, scope: Scope) -> Response:
        if not self._clock.is_manual:
            return problem(405, "Start the simulator with `--clock manual` to move its clock.")
        if header(scope, b"origin"):
            return problem(403, "Pages in a browser do not move the clock.")
        try:
            given = _parameters(scope, ("advance",))
            self._clock.advance(_number(given, "advance", 0.0, 0.0, math.inf))
        except _BadParameter as error:
            return problem(422, str(error))
        return self._read_clock()


async def _until_gone(receive: Receive) -> None:
    """Answer nothing for as long as the client waits."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _parameters(scope: Scope, known: Sequence[str]) -> Mapping[str, str]:
    """Raises _BadParameter."""
    query = scope.get("query_string", b"").decode("latin-1")
    given = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=None))
    if unknown := given.keys() - set(known):
        raise _BadParameter(f"Unknown parameter {min(unknown)!r}; there are {', '.join(known)}.")
    return given


def _number(given: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = given.get(name, "")
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high or math.isinf(number):
        raise _BadParameter(f"{name}: expected a number from {low:.3f} to {high:.3f}.")
    return number


def _words(text: str, known: Sequence[str]) -> tuple[str, ...]:
    words = tuple(filter(None, text.split(",")))
    if set(words) - set(known) or len(set(words)) < len(words):
        raise _BadParameter(f"by: expected some of {','.join(known)}, each once.")
    return words
