"""Read one engine's page over HTTP."""

from collections.abc import Sequence
from pathlib import Path

from perwatt_agent.engine.counts import EngineCounter
from perwatt_agent.engine.endpoints import EngineFailure
from perwatt_agent.engine.kinds import ENGINES, EngineKind
from perwatt_agent.engine.page import EnginePage
from perwatt_agent.http import FETCH_REASONS, FetchError, Target, fetch
from perwatt_agent.promparse import PAGE_REASONS, PageError, PageParser, Series
from perwatt_agent.snapshot import EngineCounts

ENGINE_REASONS = (*FETCH_REASONS, *PAGE_REASONS, "token_file", "no_family", "several_models", "bad_value")
_MAX_LINES = 50_000


class EngineReader:
    """
    Read the page at *url* of an engine named *engine*, or of any that is known ("auto").

    *model* chooses among several on the page and names the one of an engine that does not say.
    *bearer_token_file* is read anew for each page, as tokens are rotated. Raises ValueError for a bad
    URL or an unknown engine.
    """

    def __init__(
        self,
        url: str,
        *,
        engine: str = "auto",
        model: str | None = None,
        bearer_token_file: Path | None = None,
        timeout_seconds: float = 2.0,
    ) -> None:
        self._target = Target.of(url)
        self._kinds = _kinds_named(engine)
        self._model = model
        self._bearer_token_file = bearer_token_file
        self._timeout_seconds = timeout_seconds
        wanted = frozenset[str]().union(*(kind.families() for kind in self._kinds))
        self._parser = PageParser(wanted, max_lines=_MAX_LINES)
        self._counter = EngineCounter()
        self.engine = "" if engine == "auto" else engine

    async def read(self) -> EngineCounts:
        """
        Return the engine's counts now; `engine` then names the engine that was recognised.

        Raises EngineFailure with one of ENGINE_REASONS.
        """
        try:
            page = await fetch(
                self._target, timeout_seconds=self._timeout_seconds, bearer_token=self._bearer_token()
            )
            samples = self._parser.parse(page)
        except (FetchError, PageError) as error:
            raise EngineFailure(error.reason, str(error)) from error
        kind = self._recognised(samples)
        self.engine = kind.name
        return self._counter.counts(kind, EnginePage(kind, samples, self._model))

    def _recognised(self, samples: Sequence[tuple[Series, float]]) -> EngineKind:
        names = {series.name for series, _ in samples}
        for kind in self._kinds:
            if not names.isdisjoint(kind.recognised_by):
                return kind
        known = ", ".join(kind.name for kind in self._kinds)
        raise EngineFailure("no_family", f"no counters of {known}; does the engine count at all?")

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


def _kinds_named(engine: str) -> tuple[EngineKind, ...]:
    kinds = tuple(kind for kind in ENGINES if engine in ("auto", kind.name))
    if not kinds:
        raise ValueError(
            f"unknown engine {engine!r}: expected auto, {', '.join(kind.name for kind in ENGINES)}"
        )
    return kinds
