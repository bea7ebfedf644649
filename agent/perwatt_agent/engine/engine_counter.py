"""Counter of one engine: from its pages to its counts, with the state kept between pages."""

from msgspec.structs import replace

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.histograms import BadHistogram
from perwatt_agent.engine.kind import EngineKind, Role
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.engine.rank_counters import RankCounters
from perwatt_agent.engine.wasted_tokens import wasted_tokens
from perwatt_agent.facts.engine_counts import EngineCounts, Histogram
from perwatt_agent.facts.workload import Role as WorkloadRole


class _EngineRun:
    """
    State of one engine from its start to its end.

    Some counts are differences of counters that do not move at the same instant. Each is kept at its highest
    value so far, so that it never decreases while the engine runs.
    """

    def __init__(self, kind: EngineKind, model: str, process_start: float | None) -> None:
        self.kind = kind
        self.model = model
        self.process_start = process_start
        self.ranks = RankCounters(kind)
        self._highest: dict[str, float] = {}

    def maximum(self, name: str, value: float) -> float:
        self._highest[name] = max(self._highest.get(name, 0.0), value)
        return self._highest[name]


class EngineCounter:
    """
    Counts one endpoint's engine, page by page, for a workload of that *role*.

    A prefill worker generates one token a request, and the decode worker delivers it: the prefill worker
    has no output and no requests. A router has neither, as its engines count them. A decode worker's prompt
    tokens count only if the engine leaves out tokens whose KV cache came from another worker.
    """

    def __init__(self, role: WorkloadRole = "mixed") -> None:
        self._role = role
        self._run: _EngineRun | None = None
        self.faults: tuple[EngineFailure, ...] = ()

    def counts(self, kind: EngineKind, page: EngineMetricsPage) -> EngineCounts:
        """
        Return the counts on *page*. Afterwards, `faults` are the parts that were left out.

        Raises EngineFailure: bad_value, or no_family if the page has no metric of this engine.
        """
        if not kind.recognises(page.names()):
            raise EngineFailure("no_family", f"the page has no metrics of {kind.name}")
        process_start = page.count(kind.process_start)
        run = self._run_of(kind, page, process_start)
        page.replace(run.ranks.complete(page.samples(kind.counters())))
        reading = _Reading(kind, page, run)
        counts = reading.counts(process_start)
        self.faults = tuple(reading.faults)
        return _in_role(counts, self._role, kind, page)

    def _run_of(self, kind: EngineKind, page: EngineMetricsPage, process_start: float | None) -> _EngineRun:
        """Return the run that the page belongs to: the current one, unless the engine restarted."""
        run = self._run
        if (
            run is None
            or run.kind is not kind
            or run.model != page.model
            or (process_start and run.process_start and process_start != run.process_start)
            or run.ranks.is_restart(page.samples(kind.counters()))
        ):
            run = self._run = _EngineRun(kind, page.model, process_start)
        run.process_start = process_start or run.process_start
        return run


class _Reading:
    """One page, read for its counts."""

    def __init__(self, kind: EngineKind, page: EngineMetricsPage, run: _EngineRun) -> None:
        self._kind = kind
        self._page = page
        self._run = run
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
            wasted_tokens=wasted_tokens(kind, page, self._run.maximum),
            time_to_first_token=self._histogram(kind.time_to_first_token),
            time_per_output_token=self._histogram(kind.time_per_output_token),
            inter_token_latency=self._histogram(kind.inter_token_latency),
        )

    def _flops_per_gpu(self) -> float | None:
        """Return the FLOPs of each GPU; an engine without this option shows 0 for ever."""
        flops = self._page.mean_count(self._kind.flops_per_gpu)
        return self._run.maximum("flops", flops) if flops else None

    def _histogram(self, role: Role) -> Histogram | None:
        try:
            return self._page.histogram(role)
        except BadHistogram as fault:
            self.faults.append(fault)
            return None

    def _prompt_tokens(self) -> tuple[float | None, float | None]:
        """Return computed and cached prompt tokens, which never decrease. A sum on the page is exact."""
        kind, page = self._kind, self._page
        prompt = page.tokens(kind.prompt_tokens)
        computed, cached = page.tokens(kind.prompt_computed), page.tokens(kind.prompt_cached)
        if prompt is None:
            return computed, cached
        if computed is not None:
            if cached is None:
                cached = min(prompt, self._run.maximum("cached", prompt - computed))
            return computed, cached
        # Cache hits are counted when a request is admitted, its prompt after the prefill. In between, the
        # hits are ahead of the prompts that they belong to.
        computed = self._run.maximum("computed", prompt - (cached or 0.0))
        return computed, prompt - computed

    def _requests_ok(self, aborted: float | None) -> float | None:
        ended = self._page.count(self._kind.requests_ended)
        if ended is None or aborted is None:
            return self._page.count(self._kind.requests_ok)
        return self._run.maximum("ok", ended - aborted)

    def _requests_aborted(self) -> float | None:
        """
        Return the aborted requests: those that the engine counts, and those that it does not.

        A request that got its first token has ended, runs, waits after a preemption, or was aborted without
        being counted. Requests without a first token, running or aborted and counted, make the difference
        too small, never too large.
        """
        kind, page = self._kind, self._page
        counted = page.count(kind.requests_aborted)
        first_tokens, finished = page.count(kind.first_tokens), page.count(kind.finished)
        if first_tokens is None or finished is None:
            return counted
        waiting = page.gauge(kind.waiting) or 0.0
        preempted = min(waiting, page.count(kind.preemptions) or 0.0)
        aborted = first_tokens - finished - (page.gauge(kind.running) or 0.0) - preempted
        return self._run.maximum("aborted", max(aborted, 0.0) + (counted or 0.0))

    def _effective_output_tokens(self, ok: float | None) -> float | None:
        """Return the output of finished requests, if all succeeded: the page does not separate the others."""
        kind = self._kind
        others: tuple[Role, ...] = (kind.requests_aborted, kind.requests_failed, kind.requests_cut_short)
        if ok is None or any(role and self._page.count(role) != 0 for role in others):
            return None
        return self._page.count(kind.finished_output_tokens)

    def _requests_error(self) -> float | None:
        """Return requests rejected, failed or cut short. The engine and its server both count a failure."""
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
    """Return *counts* without what a workload of this role did not do or cannot count."""
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
        counts = replace(counts, time_to_first_token=None)  # the prefill worker generated it
        if page.count(kind.prompt_computed) is None:
            return replace(counts, prompt_computed_tokens=None, prompt_cached_tokens=None)
    return counts


def load_only(counts: EngineCounts) -> EngineCounts:
    """Return only the load: the counts of a router or frontend whose engines count the work."""
    return EngineCounts(
        model=counts.model,
        requests_running=counts.requests_running,
        requests_waiting=counts.requests_waiting,
        process_start_unix_seconds=counts.process_start_unix_seconds,
    )
