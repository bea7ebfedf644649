"""Reader of one engine's metrics page over HTTP."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_counter import EngineCounter
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import Role
from perwatt_agent.meters.reading.credentials import basic
from perwatt_agent.net.failures import reasons
from perwatt_agent.net.http_client import FETCH_REASONS, FetchError, Target, fetch
from perwatt_agent.net.prometheus_text import PAGE_REASONS, PageError, PageParser, Series

ENGINE_REASONS = reasons(
    *FETCH_REASONS,
    *PAGE_REASONS,
    "draining",
    "token_file",
    "no_family",
    "role_unknown",
    "several_models",
    "no_model",
    "several_processes",
    "bad_value",
    "bad_histogram",
    "loading",
    "ended",
)
_MAX_LINES = 50_000
_MAX_BYTES = 16 * 1024 * 1024  # a page may be longer than what is read of it


class EnginePageReader:
    """
    Reads the page at *url* of the engine named *engine*, or of any engine of *kinds* ("auto").

    *model* selects one of several models on the page, and names the model of a page without names. If other
    endpoints read other models of a *shared* page, nothing but *model* counts. *role* is the role of the
    workload; *shares_kv* says that its launch exchanges KV caches with peers. *bearer_token_file* and
    *credentials_file* are read again for each page, as secrets are rotated. By default *tls_context* trusts
    the system's certificates.

    Raises ValueError for a bad URL, for an unknown engine, and for a page whose reading would change the
    engine.
    """

    def __init__(
        self,
        url: str,
        *,
        engine: str = "auto",
        model: str | None = None,
        shared: bool = False,
        role: Role = "mixed",
        shares_kv: bool = False,
        kinds: Sequence[EngineKind] = ENGINES,
        bearer_token_file: Path | None = None,
        credentials_file: Path | None = None,
        tls_context: ssl.SSLContext | None = None,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._target = Target.of(_without_autoload(url))
        self._kinds = _kinds_named(engine, kinds)
        _refuse_draining(url, self._kinds, engine)
        self._model = model
        self._shared = shared
        self._bearer_token_file = bearer_token_file
        self._credentials_file = credentials_file
        self._tls_context = tls_context
        self._timeout_seconds = timeout_seconds
        wanted = frozenset[str]().union(*(kind.families() for kind in self._kinds))
        self._parser = PageParser(wanted, max_lines=_MAX_LINES)
        self._counter = EngineCounter(role, shares_kv=shares_kv)
        self._drains = False
        self.ranks: int | None = None
        self.engine = self._kinds[0].name if len(self._kinds) == 1 else ""

    async def read(self) -> EngineCounts:
        """
        Return the engine's counts now. Afterwards, `engine` is the engine that was recognised, and `ranks`
        how many data-parallel ranks its page shows, None if it shows no numbers of ranks.

        Raises EngineFailure with one of ENGINE_REASONS.
        """
        samples = self._parse(await self._fetch())
        kind = self._recognised(samples)
        self.engine = kind.name
        page = EngineMetricsPage(kind, samples, self._model, shared=self._shared)
        self.ranks = page.ranks
        return self._counter.counts(kind, page)

    @property
    def role(self) -> Role:
        """The role of the workload: that of the latest page, if only the page names it."""
        return self._counter.role

    @property
    def faults(self) -> tuple[EngineFailure, ...]:
        """The parts of the latest page that were left out."""
        return self._counter.faults

    async def _fetch(self) -> bytes:
        if self._drains:
            raise EngineFailure(
                "draining",
                "reading this page empties a queue of the engine, so it is not read again: set the "
                "endpoint's `url` to its Prometheus metrics, such as /prometheus/metrics",
            )
        try:
            return await fetch(
                self._target,
                timeout_seconds=self._timeout_seconds,
                max_bytes=_MAX_BYTES,
                bearer_token=self._bearer_token(),
                headers=self._credentials(),
                tls_context=self._tls_context,
            )
        except FetchError as error:
            raise EngineFailure(error.reason, str(error)) from error

    def _parse(self, page: bytes) -> list[tuple[Series, float]]:
        try:
            return self._parser.parse(page)
        except PageError as error:
            # TensorRT-LLM hands out a list of records once. An error message would be an object.
            self._drains = error.reason == "json" and page.lstrip().startswith(b"[")
            raise EngineFailure(error.reason, str(error)) from error

    def _recognised(self, samples: Sequence[tuple[Series, float]]) -> EngineKind:
        names = {series.name for series, _ in samples}
        # Counters of work identify an engine best; an idle one may have none yet.
        for kind in self._kinds:
            if not names.isdisjoint(kind.recognised_by):
                return kind
        for kind in self._kinds:
            if kind.recognises(names):
                return kind
        known = ", ".join(kind.name for kind in self._kinds)
        raise EngineFailure(
            "no_family",
            f"no metrics of {known}; enable them in the engine, or check the endpoint's `url` and `engine`",
        )

    def _credentials(self) -> dict[str, str]:
        if self._credentials_file is None:
            return {}
        try:
            return {"Authorization": basic(self._credentials_file)}
        except ValueError as error:
            raise EngineFailure("token_file", f"{self._credentials_file}: expected {error}") from None

    def _bearer_token(self) -> str | None:
        if self._bearer_token_file is None:
            return None
        try:
            token = self._bearer_token_file.read_text(encoding="ascii").strip()
            if not token.isprintable():
                raise ValueError("a token is one printable line")
            return token
        except (OSError, ValueError) as error:
            raise EngineFailure("token_file", f"{self._bearer_token_file}: {error}") from error


def _kinds_named(engine: str, kinds: Sequence[EngineKind]) -> tuple[EngineKind, ...]:
    names = {engine, *(kind.shows for kind in kinds if kind.name == engine)} - {""}
    named = tuple(kind for kind in kinds if engine == "auto" or not names.isdisjoint((kind.name, kind.also)))
    if not named:
        known = ", ".join(kind.name for kind in kinds)
        raise ValueError(f"unknown engine {engine!r}: expected auto, {known}")
    return named


def _without_autoload(url: str) -> str:
    """Add `autoload=false` to a URL that names a model: a router would load the model to answer."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    if not any(name == "model" for name, _ in query):
        return url
    query = [(name, value) for name, value in query if name != "autoload"]
    return parts._replace(query=urlencode([*query, ("autoload", "false")])).geturl()


def _refuse_draining(url: str, kinds: Sequence[EngineKind], engine: str) -> None:
    path = urlsplit(url).path.rstrip("/")
    for kind in kinds if engine != "auto" else ():
        if path in kind.draining_paths:
            raise ValueError(f"reading {path} of {kind.name} removes its content: use {kind.paths[0]}")
