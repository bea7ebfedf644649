"""From pages of one engine to its counts, with what must be remembered from page to page."""

from msgspec import Struct

from perwatt_agent.engine.endpoints import EngineFailure
from perwatt_agent.engine.kinds import EngineKind
from perwatt_agent.engine.page import EnginePage
from perwatt_agent.snapshot import EngineCounts


class _Raw(Struct, frozen=True):
    """The counters by which a restart of the engine is told."""

    output: float
    prompt: float
    first_tokens: float
    finished: float
    process_start: float

    def restarted_since(self, before: "_Raw") -> bool:
        if self.process_start and before.process_start and self.process_start != before.process_start:
            return True
        return (
            self.output < before.output
            or self.prompt < before.prompt
            or self.first_tokens < before.first_tokens
            or self.finished < before.finished
        )


class EngineCounter:
    """
    Count one endpoint's engine, page by page.

    Two counts are differences of others, which do not move at the same instant: computed prompt tokens
    and aborted requests. Both are held at the highest that was certain since the engine started, so
    that they never fall while it lives.
    """

    def __init__(self) -> None:
        self._before: _Raw | None = None
        self._computed = 0.0
        self._aborted = 0.0

    def counts(self, kind: EngineKind, page: EnginePage) -> EngineCounts:
        """Return what *page* says. Raises EngineFailure: bad_value, or no_family without any tokens."""
        output, prompt = page.tokens(kind.output_tokens), page.tokens(kind.prompt_tokens)
        if output is None and prompt is None:
            raise EngineFailure("no_family", f"the page has no token counters of {kind.name}")
        process_start = page.count(kind.process_start)
        self._forget_after_restart(
            _Raw(
                output or 0.0,
                prompt or 0.0,
                page.count(kind.first_tokens) or 0.0,
                page.count(kind.finished) or 0.0,
                process_start or 0.0,
            )
        )
        computed, cached = self._prompt_tokens(kind, page, prompt)
        return EngineCounts(
            model=page.model,
            output_tokens=output,
            prompt_computed_tokens=computed,
            prompt_cached_tokens=cached,
            effective_output_tokens=_effective_output_tokens(kind, page),
            requests_ok=page.count(kind.requests_ok),
            requests_aborted=self._requests_aborted(kind, page),
            requests_error=_requests_error(kind, page),
            requests_running=page.gauge(kind.running),
            requests_waiting=page.gauge(kind.waiting),
            process_start_unix_seconds=process_start,
        )

    def _forget_after_restart(self, raw: _Raw) -> None:
        if self._before is not None and raw.restarted_since(self._before):
            self._computed = self._aborted = 0.0
        self._before = raw

    def _prompt_tokens(
        self, kind: EngineKind, page: EnginePage, prompt: float | None
    ) -> tuple[float | None, float | None]:
        """Computed and cached prompt tokens; their sum is exact and neither ever falls."""
        computed, cached = page.tokens(kind.prompt_computed), page.tokens(kind.prompt_cached)
        if computed is not None or prompt is None:
            return computed, cached
        # Cache hits are counted when a request is admitted, its prompt when the prefill is done: in
        # between, hits run ahead of the prompts that they belong to.
        self._computed = max(self._computed, prompt - (cached or 0.0))
        return self._computed, prompt - self._computed

    def _requests_aborted(self, kind: EngineKind, page: EnginePage) -> float | None:
        """
        Aborts that the engine counts, and those that it does not.

        A request that had its first token has ended, runs, waits after a preemption, or was aborted.
        Running ones without a first token make the difference fall short, never exceed the truth.
        """
        counted = page.count(kind.requests_aborted)
        first_tokens, finished = page.count(kind.first_tokens), page.count(kind.finished)
        if first_tokens is None or finished is None:
            return counted
        waiting = page.gauge(kind.waiting) or 0.0
        preempted = min(waiting, page.count(kind.preemptions) or 0.0)
        certain = first_tokens - finished - (page.gauge(kind.running) or 0.0) - preempted
        self._aborted = max(self._aborted, certain + (counted or 0.0))
        return self._aborted


def _effective_output_tokens(kind: EngineKind, page: EnginePage) -> float | None:
    """Output of finished requests, while all of them ended well: the page does not tell them apart."""
    others = (kind.requests_aborted, kind.requests_failed, kind.requests_cut_short)
    if page.count(kind.requests_ok) is None or any(page.count(role) != 0 for role in others):
        return None
    return page.count(kind.finished_output_tokens)


def _requests_error(kind: EngineKind, page: EnginePage) -> float | None:
    """Requests refused, failed or cut short. A failure is told twice, by the engine and its HTTP server."""
    failed, cut_short = page.count(kind.requests_failed), page.count(kind.requests_cut_short)
    if failed is None:
        return None
    refused, unanswered = page.count(kind.http_rejected) or 0.0, page.count(kind.http_failed) or 0.0
    return refused + max(failed, unanswered) + (cut_short or 0.0)
