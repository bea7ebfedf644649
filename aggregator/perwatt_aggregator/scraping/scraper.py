"""Scraper: fetches the page of every agent, each in a task of its own, so that no agent affects another."""

import asyncio
import logging
import random
import ssl
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import aiohttp

from perwatt_agent.clock import Clock
from perwatt_agent.net.failures import reasons
from perwatt_agent.net.prometheus_text import PAGE_REASONS, PageError
from perwatt_aggregator.readings.agent import Agent
from perwatt_aggregator.readings.facts import BadValue
from perwatt_aggregator.readings.node_ring import HistoryFull, TooManySeries
from perwatt_aggregator.readings.page_reader import NotAnAgent, PageReader
from perwatt_aggregator.readings.sample import NodeSample
from perwatt_aggregator.targets.access import Accesses
from perwatt_aggregator.targets.target import Target

logger = logging.getLogger(__name__)

MAX_PAGE_BYTES = 8 * 1024 * 1024
MAX_DEADLINE_SECONDS = 10.0
MIN_DEADLINE_SECONDS = 1.0
MAX_SCRAPES = 512
"""At once, of nodes that answered last time."""
MAX_RETRIES = 128
"""At once, of nodes that did not: many dead nodes wait for each other, and delay no live one."""
SCRAPE_REASONS = reasons(
    "unreachable",
    "tls",
    "token_file",
    "timeout",
    "protocol",
    "redirect",
    "http_status",
    "too_large",
    "encoding",
    *PAGE_REASONS,
    "not_an_agent",
    "too_many_series",
    "history_full",
    "bad_value",
    "internal",
)
"""All values of the label `reason` of a failed scrape."""

_HEADERS = {
    "Accept": "text/plain;version=0.0.4",
    "Accept-Encoding": "gzip",
    "User-Agent": "perwatt-aggregator",
}
_GZIP = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 64 * 1024
_UNPACKED_BYTES = 1024 * 1024
"""So much is unpacked at once; most pages are smaller."""


class ScrapeFailed(Exception):
    """One scrape failed; `reason` is one of SCRAPE_REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Fetch = Callable[[str], Awaitable[bytes]]
"""The body at a URL of an agent, with the credentials of its target. Raises ScrapeFailed."""
FollowUp = Callable[[Agent, Fetch], Awaitable[None]]


async def _no_follow_up(node: Agent, fetch: Fetch) -> None:
    """Nothing more is fetched."""


class Scraper:
    """
    Scrapes nodes every `interval_seconds`, each at a random phase, until it is stopped or they leave.

    After each page that was read, *follow_up* may fetch more from the node.
    """

    def __init__(
        self,
        nodes: Iterable[Agent],
        interval_seconds: float,
        clock: Clock,
        follow_up: FollowUp = _no_follow_up,
    ) -> None:
        self._follow_up = follow_up
        self._nodes = tuple(nodes)
        self._accesses = Accesses()
        self._interval_seconds = interval_seconds
        self._deadline_seconds = min(max(interval_seconds, MIN_DEADLINE_SECONDS), MAX_DEADLINE_SECONDS)
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[Agent, asyncio.Task[None]] = {}
        self._long_page = asyncio.Lock()
        self._scrapes = asyncio.Semaphore(MAX_SCRAPES)
        self._retries = asyncio.Semaphore(MAX_RETRIES)

    def follow(self, nodes: Iterable[Agent]) -> None:
        """Scrape *nodes* and no others from now on; those that were scraped before keep their phase."""
        self._nodes = tuple(nodes)
        if self._session is None:
            return
        for node in self._tasks.keys() - set(self._nodes):
            self._tasks.pop(node).cancel()
        for node in self._nodes:
            if node not in self._tasks:
                self._tasks[node] = asyncio.create_task(
                    self._scrape_forever(node, self._session), name=f"scrape {node.target.node}"
                )

    async def start(self) -> None:
        """Start one task for each node; must be called on a running loop."""
        # Bodies are decompressed by hand, so that a small one cannot exceed the limit.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0),
            timeout=aiohttp.ClientTimeout(total=self._deadline_seconds),
            headers=_HEADERS,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self.follow(self._nodes)

    async def stop(self) -> None:
        """Cancel all scrapes."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks = {}
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _scrape_forever(self, node: Agent, session: aiohttp.ClientSession) -> None:
        reader = PageReader(node.objectives)
        # A phase of its own for each node, and the same one after every restart.
        due = self._clock.monotonic() + random.Random(node.target.url).random() * self._interval_seconds
        while True:
            await self._clock.sleep_until(due)
            async with self._retries if node.failure else self._scrapes:
                await self._scrape(node, reader, session)
            missed = max(0.0, self._clock.monotonic() - due) // self._interval_seconds
            due += (missed + 1.0) * self._interval_seconds

    async def _scrape(self, node: Agent, reader: PageReader, session: aiohttp.ClientSession) -> None:
        started = self._clock.monotonic()
        was_up, before = node.up, node.failure
        try:
            fetch_own = partial(self._fetch, session, node.target)
            page = await fetch_own(node.target.url)
            fetched = self._clock.monotonic()
            _add(node, await self._read(reader, page, fetched), self._clock.unix())
            await self._follow_up(node, fetch_own)
        except ScrapeFailed as failed:
            node.fail(failed.reason)
            _report(node, before, failed)
        except Exception:
            # An unexpected error must not end the node's task, and must be visible.
            node.fail("internal")
            logger.exception("scraping %s failed; please report this", node.target.url)
        else:
            if not was_up:
                logger.info("reading %s", node.target.url)
        node.scrape_seconds = self._clock.monotonic() - started

    async def _fetch(self, session: aiohttp.ClientSession, target: Target, url: str) -> bytes:
        """The body at *url* of the agent at *target*, with its credentials. Raises ScrapeFailed."""
        try:
            context, headers = self._accesses.of(target.access).of(url)
        except ValueError as error:
            raise ScrapeFailed("token_file", str(error)) from None
        return await fetch(session, url, context, headers)

    async def _read(self, reader: PageReader, page: bytes, monotonic_seconds: float) -> NodeSample:
        """Read a page in slices, between which all else goes on. Raises ScrapeFailed."""
        slices = reader.slices(page, monotonic_seconds)
        try:
            sample = next(slices) or next(slices)
            if sample is None:
                # Of the long pages one at a time, so that the slices of several do not add up.
                async with self._long_page:
                    while sample is None:
                        sample = next(slices)
                        await asyncio.sleep(0)
        except PageError as error:
            raise ScrapeFailed(error.reason, str(error)) from error
        except NotAnAgent as error:
            raise ScrapeFailed("not_an_agent", str(error)) from error
        except TooManySeries as error:
            raise ScrapeFailed("too_many_series", str(error)) from error
        except BadValue as error:
            raise ScrapeFailed("bad_value", str(error)) from error
        # A page that was cut inside a number has another number: the last line of a complete one has its end.
        if not page.endswith(b"\n"):
            raise ScrapeFailed("protocol", "the page is incomplete: its last line has no end")
        return sample


def _report(node: Agent, before: str | None, failed: Exception) -> None:
    """Log a failure of another kind than *before*; several agents with one kind of failure are counted."""
    if node.failure != before:
        logger.warning(
            "no reading of %s (%s): %s; check this target under `sources`",
            node.target.url,
            node.failure,
            failed,
            extra={"kind": node.failure},
        )


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    context: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the decompressed page at *url*, within the session's timeout. Raises ScrapeFailed."""
    try:
        async with session.get(url, allow_redirects=False, ssl=context or True, headers=headers) as response:
            if response.status != 200:
                _refuse_status(response)
            body = await _body(response)
            return await _unpack(body) if response.headers.get("Content-Encoding") == "gzip" else body
    except asyncio.TimeoutError as error:
        raise ScrapeFailed(
            "timeout",
            "no complete answer in time; raise `scrape_interval`",
        ) from error
    except aiohttp.ClientSSLError as error:
        raise ScrapeFailed("tls", f"{error}; check `ca_file` and `cert_file`"[:300]) from error
    except aiohttp.ClientConnectorError as error:
        raise ScrapeFailed("unreachable", f"{error}; does an agent run there?") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ScrapeFailed("protocol", f"{type(error).__name__}: {error}"[:300]) from error


def _refuse_status(response: aiohttp.ClientResponse) -> None:
    if 300 <= response.status < 400:
        raise ScrapeFailed(
            "redirect",
            f"it redirects to {response.headers.get('Location', '')[:200]!r}; configure that URL",
        )
    cure = "; configure its credentials" if response.status in (401, 403) else ""
    raise ScrapeFailed("http_status", f"the answer has status {response.status}{cure}")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_PAGE_BYTES:
            raise ScrapeFailed("too_large", f"the page has more than {MAX_PAGE_BYTES} bytes")
    return bytes(body)


async def _unpack(body: bytes) -> bytes:
    """Unpack in slices, between which all else goes on."""
    stream = zlib.decompressobj(_GZIP)
    page = bytearray()
    while not stream.eof:
        try:
            part = stream.decompress(body, _UNPACKED_BYTES)
        except zlib.error as error:
            raise ScrapeFailed("encoding", f"the page is not valid gzip: {error}") from error
        body = stream.unconsumed_tail
        if not part and not body:
            raise ScrapeFailed("protocol", "the gzip stream is incomplete")
        page += part
        if len(page) > MAX_PAGE_BYTES:
            raise ScrapeFailed("too_large", f"the decompressed page has more than {MAX_PAGE_BYTES} bytes")
        if len(part) == _UNPACKED_BYTES:
            await asyncio.sleep(0)
    return bytes(page)


def _add(node: Agent, sample: NodeSample, unix_seconds: float) -> None:
    try:
        node.add(sample, unix_seconds)
    except TooManySeries as error:
        raise ScrapeFailed("too_many_series", str(error)) from error
    except HistoryFull as error:
        raise ScrapeFailed("history_full", str(error)) from error
