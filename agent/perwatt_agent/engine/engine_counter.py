"""From pages of one engine to its counts, with what must be remembered from page to page."""

from msgspec.structs import replace

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.histograms import BadHistogram
from perwatt_agent.engine.kind import EngineKind, Role
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.engine.rank_counters import RankCounters
from perwatt_agent.engine.wasted_tokens import wasted_tokens
from perwatt_agent.facts.engine_counts import EngineCounts, Histogram
from perwatt_agent.facts.workload import Role as WorkloadRole


class _Life:
    """
    What is remembered of one engine from its start to its end.

    Some counts are differences of others, which do not move at the same instant: each is held at the
    highest that was certain, so that it never falls while the engine lives.
    """

    def __init__(self, kind: EngineKind, model: str, process_start: float | None) -> None:
        self.kind = kind
        self.model = model
        self.process_start = process_start
        self.ranks = RankCounters(kind)
        self._highest: dict[str, float] = {}

    def held(self, name: str, certain: float) -> float:
        self._highest[name] = max(self._highest.get(name, 0.0), certain)
        return self._highest[name]


class EngineCounter:
    """
    Count one endpoint's engine, page by page, for a workload of that *role*.

    A prefill worker makes one token a request, which the decoding one delivers: it is no output, nor is
    the request counted twice. What a router passes on is counted where it was made. A decoding worker's
    prompt tokens count only where the engine leaves out those whose KV came from elsewhere.
    """

    def __init__(self, role: WorkloadRole = "mixed") -> None:
        self._role = role
        self._life: _Life | None = None
        self.faults: tuple[EngineFailure, ...] = ()

    def counts(self, kind: EngineKind, page: EngineMetricsPage) -> EngineCounts:
        """
        Return what *page* says; `faults` are then what had to be left out.

        Raises EngineFailure: bad_value, or no_family without any of its own.
        """
        if kind.recognised_by.isdisjoint(page.names()):
            raise EngineFailure("no_family", f"the page has no counters of {kind.name}")
        process_start = page.count(kind.process_start)
        life = self._life_of(kind, page, process_start)
        page.complete(life.ranks.complete(page.samples(kind.counters())))
        reading = _Reading(kind, page, life)
        counts = reading.counts(process_start)
        self.faults = tuple(reading.faults)
        return _in_role(counts, self._role, kind, page)

    def _life_of(self, kind: EngineKind, page: EngineMetricsPage, process_start: float | None) -> _Life:
        """The life that the page tells of: the one before, unless the engine was restarted."""
        life = self._life
        if (
            life is None
            or life.kind is not kind
            or life.model != page.model
            or (process_start and life.process_start and process_start != life.process_start)
            or life.ranks.outlives(page.samples(kind.counters()))
        ):
            life = self._life = _Life(kind, page.model, process_start)
        life.process_start = process_start or life.process_start
        return life


class _Reading:
    """One page, read for its counts."""

    def __init__(self, kind: EngineKind, page: EngineMetricsPage, life: _Life) -> None:
        self._kind = kind
        self._page = page
        self._life = life
        self.faults: list[EngineFailure] = []

    def counts(self, process_start: float | None) -> EngineCounts:
        kind, page = self._kind, self._page
        computed, cached = self._prompt_tokens()
        aborted = self._requests_aborted()
        ok = self._requests_ok(aborted)
        return EngineCounts(
            model=page.model,
            output_tokens=page.tokens(kind.output_tokens),
            prompt_computed_tokens=computed,
            prompt_cached_tokens=cached,
            effective_output_tokens=self._effective_output_tokens(ok),
            requests_ok=ok,
            requests_aborted=aborted,
            requests_error=self._requests_error(),
            requests_running=page.gauge(kind.running),
            requests_waiting=page.gauge(kind.waiting),
            process_start_unix_seconds=process_start,
            kv_cache_usage_ratio=page.ratio(kind.kv_cache_usage),
            preemptions=page.count(kind.preemptions),
            flops_per_gpu=self._flops_per_gpu(),
            wasted_tokens=wasted_tokens(kind, page, self._life.held),
            time_to_first_token=self._histogram(kind.time_to_first_token),
            time_per_output_token=self._histogram(kind.time_per_output_token),
            inter_token_latency=self._histogram(kind.inter_token_latency),
        )

    def _flops_per_gpu(self) -> float | None:
        """What the engine counts for each GPU; one that was not told to count shows 0 for ever."""
        flops = self._page.mean_count(self._kind.flops_per_gpu)
        return self._life.held("flops", flops) if flops else None

    def _histogram(self, role: Role) -> Histogram | None:
        try:
            return self._page.histogram(role)
        except BadHistogram as fault:
            self.faults.append(fault)
            return None

    def _prompt_tokens(self) -> tuple[float | None, float | None]:
        """Computed and cached prompt tokens; where the page has their sum, it is exact. Neither falls."""
        kind, page = self._kind, self._page
        prompt = page.tokens(kind.prompt_tokens)
        computed, cached = page.tokens(kind.prompt_computed), page.tokens(kind.prompt_cached)
        if prompt is None:
            return computed, cached
        if computed is not None:
            if cached is None:
                cached = min(prompt, self._life.held("cached", prompt - computed))
            return computed, cached
        # Cache hits are counted when a request is admitted, its prompt when the prefill is done: in
        # between, hits run ahead of the prompts that they belong to.
        computed = self._life.held("computed", prompt - (cached or 0.0))
        return computed, prompt - computed

    def _requests_ok(self, aborted: float | None) -> float | None:
        ended = self._page.count(self._kind.requests_ended)
        if ended is None or aborted is None:
            return self._page.count(self._kind.requests_ok)
        return self._life.held("ok", ended - aborted)

    def _requests_aborted(self) -> float | None:
        """
        Aborts that the engine counts, and those that it does not.

        A request that had its first token has ended, runs, waits after a preemption, or was aborted.
        Running ones without a first token make the difference fall short, never exceed the truth.
        """
        kind, page = self._kind, self._page
        counted = page.count(kind.requests_aborted)
        first_tokens, finished = page.count(kind.first_tokens), page.count(kind.finished)
        if first_tokens is None or finished is None:
            return counted
        waiting = page.gauge(kind.waiting) or 0.0
        preempted = min(waiting, page.count(kind.preemptions) or 0.0)
        certain = first_tokens - finished - (page.gauge(kind.running) or 0.0) - preempted
        return self._life.held("aborted", certain + (counted or 0.0))

    def _effective_output_tokens(self, ok: float | None) -> float | None:
        """Output of finished requests, while all of them ended well: the page does not tell them apart."""
        kind = self._kind
        others: tuple[Role, ...] = (kind.requests_aborted, kind.requests_failed, kind.requests_cut_short)
        if ok is None or any(role and self._page.count(role) != 0 for role in others):
            return None
        return self._page.count(kind.finished_output_tokens)

    def _requests_error(self) -> float | None:
        """Requests refused, failed or cut short. A failure is told twice, by the engine and its server."""
        kind, page = self._kind, self._page
        failed, rejected = page.count(kind.requests_failed), page.count(kind.http_rejected)
        if failed is None and (kind.requests_failed or rejected is None):
            return None
        unanswered = page.count(kind.http_failed) or 0.0
        return (
            (rejected or 0.0) + max(failed or 0.0, unanswered) + (page.count(kind.requests_cut_short) or 0.0)
        )


def _in_role(
    counts: EngineCounts, role: WorkloadRole, kind: EngineKind, page: EngineMetricsPage
) -> EngineCounts:
    """Leave out what a workload of this role did not do, or what cannot be told of it."""
    if role == "router":
        return load_only(counts)
    if role == "prefill":
        return replace(
            counts,
            output_tokens=None,
            effective_output_tokens=None,
            requests_ok=None,
            requests_aborted=None,
            requests_error=None,
            wasted_tokens={},
            time_to_first_token=None,
            time_per_output_token=None,
            inter_token_latency=None,
        )
    if role == "decode":
        counts = replace(counts, time_to_first_token=None)  # it was the prefill worker's
        if page.count(kind.prompt_computed) is None:
            return replace(counts, prompt_computed_tokens=None, prompt_cached_tokens=None)
    return counts


def load_only(counts: EngineCounts) -> EngineCounts:
    """Return what is left of the counts of somebody in front of engines that count by themselves."""
    return EngineCounts(
        model=counts.model,
        requests_running=counts.requests_running,
        requests_waiting=counts.requests_waiting,
        process_start_unix_seconds=counts.process_start_unix_seconds,
    )
