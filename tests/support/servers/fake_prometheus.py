"""A small server of the HTTP API of Prometheus: raw samples by instant query, or what a test wants."""

import json
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from support.fleet.scraped import Labels, Samples, Scraped

_QUERY = re.compile(r"\{(.*)\}\[(\d+)ms\]", re.DOTALL)
_MATCHER = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\.)*)"\s*(?:,|$)', re.DOTALL
)


class FakePrometheus:
    """
    An ASGI application over *scraped*. `requests` are the parameters of each request, `headers` its headers.

    *reply* may give status and body instead, for answers that no good server gives.
    """

    def __init__(self, scraped: Scraped) -> None:
        self.scraped = scraped
        self.requests: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.extra: dict[str, Any] = {}
        self.shows_markers = False
        self.reply: Callable[[str], tuple[int, bytes]] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body = b""
        while (message := await receive()).get("more_body") or message["type"] != "http.request":
            body += message.get("body", b"")
        body += message.get("body", b"")
        self.paths.append(scope["path"])
        self.headers.append({name.decode().lower(): value.decode() for name, value in scope["headers"]})
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
        self.requests.append(parameters)
        status, answer = (self.reply or self._answer)(parameters["query"])
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, query: str) -> tuple[int, bytes]:
        try:
            rows = self._rows(query, float(self.requests[-1]["time"]))
        except ValueError as error:
            problem = {"status": "error", "errorType": "bad_data", "error": str(error)}
            return 400, json.dumps(problem).encode()
        data = {"resultType": "matrix", "result": rows}
        return 200, json.dumps({"status": "success", "data": data, **self.extra}).encode()

    def _rows(self, query: str, at: float) -> list[dict[str, Any]]:
        matchers = matchers_of(query)
        seconds = int(query.rpartition("[")[2].removesuffix("ms]")) / 1000.0
        return [
            {"metric": {"__name__": name, **dict(labels)}, "values": values}
            for (name, labels), samples in self.scraped.series.items()
            if _matches(name, labels, matchers) and (values := self._values(samples, at - seconds, at))
        ]

    def _values(self, samples: Samples, start: float, end: float) -> list[tuple[float, str]]:
        within = (one for one in samples if start < one[0] <= end)
        return [(at, repr(value)) for at, value in within if self.shows_markers or not math.isnan(value)]


def _matchers(text: str) -> list[tuple[str, str, str]]:
    found, place = [], 0
    while place < len(text):
        match = _MATCHER.match(text, place)
        if match is None:
            raise ValueError(f"parse error at {text[place:]!r}")
        found.append((match[1], match[2], json.loads(f'"{match[3]}"')))
        place = match.end()
    return found


def _matches(name: str, labels: Labels, matchers: list[tuple[str, str, str]]) -> bool:
    own = {"__name__": name, **dict(labels)}
    for label, operator, pattern in matchers:
        value = own.get(label, "")
        is_equal = value == pattern if "~" not in operator else re.fullmatch(pattern, value) is not None
        if is_equal == operator.startswith("!"):
            return False
    return True


def matchers_of(query: str) -> list[tuple[str, str, str]]:
    """Label, operator and value of each matcher of a raw selector. Raises ValueError for anything else."""
    match = _QUERY.fullmatch(query)
    if match is None:
        raise ValueError(f"not a raw selector: {query}")
    return _matchers(match[1])
