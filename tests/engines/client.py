"""A client that counts for itself what an engine gave it: the truth that the figures are held against."""

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any

MODEL = "tiny-llama"
PATIENCE_SECONDS = 120.0
# The same for every request, and longer than a block of any engine's prefix cache.
COMMON = "A beginning that every prompt shares, so that an engine can take it from its cache. " * 4


@dataclass(frozen=True)
class Truth:
    """
    What requests came to, as told to the client: tokens by the engine's own `usage`.

    Of a request that the client broke off it knows the least that it was given, `aborted_tokens`.
    """

    ok: int = 0
    aborted: int = 0
    refused: int = 0
    output_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    aborted_tokens: int = 0

    def __add__(self, other: "Truth") -> "Truth":
        return Truth(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True)
class Request:
    """A completion of at most `tokens`; broken off after `break_after` of them, if that is given."""

    number: int
    tokens: int
    break_after: int | None = None

    @property
    def body(self) -> bytes:
        return json.dumps(
            {
                "model": MODEL,
                "prompt": f"{COMMON}{self.number}",
                "max_tokens": self.tokens,
                "stream": True,
                "stream_options": {"include_usage": True},
                "ignore_eos": self.number % 2 == 0,
                "seed": self.number,
            }
        ).encode()


def load(port: int, requests: Sequence[Request], at_once: int = 4) -> Truth:
    """Ask for all requests, `at_once` at a time; what they came to together."""
    with ThreadPoolExecutor(at_once) as pool:
        return reduce(Truth.__add__, pool.map(lambda request: _ask(port, request), requests), Truth())


def load_for(port: int, seconds: float) -> Truth:
    """Ask for one handful of requests after another until *seconds* have passed."""
    truth, number, ends = Truth(), 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        truth += load(port, [Request(number + extra, tokens=150) for extra in range(8)])
        number += 8
    return truth


def _ask(port: int, request: Request) -> Truth:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", "/v1/completions", request.body, {"Content-Type": "application/json"})
        # The socket closes with the last of the two that hold it.
        with connection.getresponse() as response:
            if response.status != http.client.OK:
                assert 400 <= response.status < 500, response.read()
                return Truth(refused=1)
            return _read(request, response)
    finally:
        connection.close()


def _read(request: Request, response: http.client.HTTPResponse) -> Truth:
    for received, event in enumerate(_events(response), start=1):
        if usage := event.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            return Truth(
                ok=1,
                output_tokens=usage["completion_tokens"],
                prompt_tokens=usage["prompt_tokens"],
                cached_tokens=cached,
            )
        if received == request.break_after:
            return Truth(aborted=1, aborted_tokens=received)
    raise AssertionError("the engine ended a stream without its usage")


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))
