"""Probe of a discovered engine: finds its metrics page among the candidate sockets."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from perwatt_agent.discovery.process_table import Process
from perwatt_agent.discovery.search import Candidate, DiscoveredEngine
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import Role
from perwatt_agent.net.tls import unchecked

# After these failures, no other path of the same socket would answer either.
_NO_HTTP = ("refused", "timeout", "tls", "protocol", "resolve")

IsAlive = Callable[[Process], bool]


class ProbedPage(Struct, frozen=True):
    """A page that the probe accepted: its place, and the process that serves it."""

    url: str
    port: int
    owner: Process
    reader: EnginePageReader


async def probe(
    found: DiscoveredEngine, is_alive: IsAlive, kinds: Sequence[EngineKind] = ENGINES
) -> ProbedPage | str:
    """
    Return the first page among the candidates of *found* that one of *kinds* recognises, else the reason.

    Requests are GETs on loopback, limited in time and size, and only to processes that still run. Where plain
    HTTP gets no answer, HTTPS is tried.
    """
    refusal = ""
    for candidate in found.candidates:
        page, error = await _page_at(candidate, found, is_alive, kinds)
        if page is not None:
            return page
        refusal = refusal or error
    return refusal or "the process that listens has ended"


async def _page_at(
    candidate: Candidate, found: DiscoveredEngine, is_alive: IsAlive, kinds: Sequence[EngineKind]
) -> tuple[ProbedPage | None, str]:
    """Return the page at one socket, else the first reason why there is none."""
    refusal = ""
    bases = [candidate.listener.loopback_url or ""]
    for base in bases:
        for path in found.kind.paths:
            if not is_alive(candidate.owner):
                return None, refusal
            url = f"{base}{path}"
            reader = EnginePageReader(
                url, role=found.role, shares_kv=found.shares_kv, kinds=kinds, tls_context=unchecked()
            )
            try:
                await reader.read()
            except EngineFailure as error:
                if may_expect_tls(error, url):
                    bases.append(over_tls(base))
                    break
                refusal = refusal or f"{url}: {error}"
                if error.reason in _NO_HTTP:
                    break
            else:
                return ProbedPage(url, candidate.listener.port, candidate.owner, reader), ""
    return None, refusal


def may_expect_tls(error: EngineFailure, url: str) -> bool:
    """Return whether *error*, at an http URL, may be that of a server with TLS: no answer, or status 400."""
    if not url.startswith("http:"):
        return False
    return error.reason == "protocol" or (error.reason == "status" and str(error) == "HTTP 400")


def over_tls(url: str) -> str:
    """Return the https URL for an http URL with a port."""
    return f"https:{url.removeprefix('http:')}"


class DiscoveredReader:
    """
    Reads the page of a discovered engine. Until a page is accepted, the engine is loading.

    Nothing is sent after the serving process has ended: another process may use its port by then. Without a
    start time on the page, *started_unix_seconds* shows a restart.
    """

    def __init__(self, engine: str, started_unix_seconds: float | None, is_alive: IsAlive) -> None:
        self._engine = engine
        self._started_unix_seconds = started_unix_seconds
        self._is_alive = is_alive
        self.page: ProbedPage | None = None

    @property
    def engine(self) -> str:
        return self.page.reader.engine if self.page else self._engine

    @property
    def role(self) -> Role | None:
        """The role that its page gives the workload; None without a page."""
        return self.page.reader.role if self.page else None

    @property
    def faults(self) -> tuple[EngineFailure, ...]:
        return self.page.reader.faults if self.page else ()

    async def read(self) -> EngineCounts:
        """Raises EngineFailure."""
        if self.page is None:
            raise EngineFailure("loading", "it does not serve its page yet")
        if not self._is_alive(self.page.owner):
            raise EngineFailure("ended", "the process that served its page has ended")
        counts = await self.page.reader.read()
        if counts.process_start_unix_seconds is None:
            return replace(counts, process_start_unix_seconds=self._started_unix_seconds)
        return counts
