"""Counter of one engine: from its pages to its counts, with the state kept between pages."""

from msgspec.structs import replace

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.histograms import BadHistogram
from perwatt_agent.engine.kind import EngineKind, Role
from perwatt_agent.engine.metrics_page import EngineMetricsPage, is_count
from perwatt_agent.engine.process_watch import CALM_PAGES, ProcessWatch
from perwatt_agent.engine.prompt_tokens import prompt_tokens
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
    Counts one endpoint's engine, page by page, for a workload of that *role*. Where the page names the role
    of a "mixed" workload, `role` is that role afterwards.

    With *shares_kv*, the launch of a "mixed" workload exchanges KV caches with other workers, and a router
    decides what it does. Until a request of more than one token has ended, it may be a prefill worker, and
    its output is left out. Afterwards it counts as a decode worker once it has received KV caches.

    A prefill worker generates one token a request, and the decode worker delivers it: the prefill worker
    has no output and no requests. A router has neither, as its engines count them. A decode worker's prompt
    tokens count only if the engine leaves out tokens whose KV cache came from another worker.
    """

    def __init__(self, role: WorkloadRole = "mixed", *, shares_kv: bool = False) -> None:
        self.role = role
        self._configured_role = role
        self._shares_kv = shares_kv
        self._run: _EngineRun | None = None
        self._watch: ProcessWatch | None = None
        self._fallen_pages = 0
        self.faults: tuple[EngineFailure, ...] = ()

    def counts(self, kind: EngineKind, page: EngineMetricsPage) -> EngineCounts:
        """
        Return the counts on *page*. Afterwards, `faults` are the parts that were left out.

        Raises EngineFailure: bad_value (also if the counts fell without a restart), no_family if the page has
        no metric of this engine, or several_processes.
        """
        if not kind.recognises(page.names()):
            raise EngineFailure("no_family", f"the page has no metrics of {kind.name}")
        process_start = page.common(kind.process_start)
        self._refuse_several(kind, page, process_start)
        self._refuse_fall(kind, page, process_start)
        run = self._run_of(kind, page, process_start)
        page.replace(run.ranks.complete(page.samples(kind.counters())))
        self.role = self._role_on(kind, page)
        reading = _Reading(kind, page, run)
        part = self._part(reading)
        counts = reading.counts(process_start, has_peers=part == "decode" or self._is_unknown)
        self.faults = tuple(reading.faults)
        return _in_role(counts, part, kind, page)

    def _role_on(self, kind: EngineKind, page: EngineMetricsPage) -> WorkloadRole:
        named = page.role(kind.role_label) if self._configured_role == "mixed" else None
        return named or self._configured_role

    @property
    def _is_unknown(self) -> bool:
        return self._shares_kv and self.role == "mixed"

    def _part(self, reading: "_Reading") -> WorkloadRole:
        """Return what the workload does, as far as the page shows it."""
        if not self._is_unknown:
            return self.role
        if reading.delivers():
            return "decode" if reading.receives_kv() else "mixed"
        reading.faults.append(
            EngineFailure(
                "role_unknown",
                "its launch exchanges KV caches with other workers, and does not say whether it prefills or "
                "decodes; its output counts after its first request of more than one token, or set the "
                "endpoint's `role`",
            )
        )
        return "prefill"

    def _refuse_several(self, kind: EngineKind, page: EngineMetricsPage, process_start: float | None) -> None:
        """Raise EngineFailure if several processes serve the page in turn: their counts do not add up."""
        self._watch = self._watch or ProcessWatch(kind.breakdown_labels())
        own = page.samples(kind.recognised_by & kind.counters())
        counts = {series: value for series, value in own.items() if is_count(value)}
        if self._watch.update(process_start, counts):
            self._run = None
            raise EngineFailure(
                "several_processes",
                "several processes serve this page in turn, each with counts of its own: give each process "
                f"an endpoint with its own address; counts resume after {CALM_PAGES} pages from one process",
            )

    def _refuse_fall(self, kind: EngineKind, page: EngineMetricsPage, process_start: float | None) -> None:
        """Raise EngineFailure if the counts fell, and the process that shows them did not restart."""
        run = self._run
        is_same = run is not None and run.kind is kind and run.model == page.model
        if (
            run is None
            or not is_same
            or not process_start
            or process_start != run.process_start
            or not run.ranks.is_restart(page.samples(kind.counters()))
            or self._fallen_pages >= CALM_PAGES
        ):
            self._fallen_pages = 0
            return
        self._fallen_pages += 1
        raise EngineFailure(
            "bad_value",
            "its counts fell, and its process did not restart: the page is wrong, or several processes serve "
            f"it; counts resume once they reach the old ones, or after {CALM_PAGES} such pages",
        )

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

    def delivers(self) -> bool:
        """Return whether a request of more than one token has ended; a prefill worker makes one of each."""
        tokens = self._page.count(self._kind.finished_output_tokens)
        ended = self._page.count(self._kind.finished)
        if tokens is None or ended is None:
            return False
        return self._run.maximum("beyond_first_tokens", tokens - ended) > 0.0

    def receives_kv(self) -> bool:
        """Return whether prompt tokens came from outside the GPU."""
        return bool(self._page.count(self._kind.prompt_external))

    def counts(self, process_start: float | None, *, has_peers: bool) -> EngineCounts:
        kind, page = self._kind, self._page
        computed, cached = prompt_tokens(kind, page, self._run.maximum, has_peers=has_peers)
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

    def _requests_ok(self, aborted: float | None) -> float | None:
        ended = self._page.count(self._kind.requests_ended)
        if ended is None or aborted is None:
            ok = self._page.count(self._kind.requests_ok)
            return None if self._has_lost_reasons(ok) else ok
        return self._run.maximum("ok", ended - aborted)

    def _has_lost_reasons(self, ok: float | None) -> bool:
        if not self._kind.ends_may_share_reason or ok != 0.0:
            return False
        others = self._page.count(self._kind.requests_aborted), self._page.count(self._kind.requests_failed)
        return bool(self._page.count(self._kind.requests_cut_short)) and not any(others)

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
        running, waiting = page.gauge(kind.running), page.gauge(kind.waiting) or 0.0
        is_known = running is not None and page.covers(kind.running, kind.first_tokens)
        if not is_known and first_tokens != finished:
            return None
        preempted = min(waiting, page.count(kind.preemptions) or 0.0)
        aborted = first_tokens - finished - (running or 0.0) - preempted
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
        origins = kind.prompt_external or kind.prompt_computed
        if page.count(origins) is None:
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
