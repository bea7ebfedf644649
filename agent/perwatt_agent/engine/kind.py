"""Engine row: how an engine is recognised, and which series of its metrics page plays which role."""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from perwatt_agent.engine.launch import Launch

CountsAt = Literal["live", "request_end"]

Labels = tuple[tuple[str, frozenset[str]], ...]


WORK_PATHS = frozenset(
    {
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/generate",
        "/pooling",
        "/score",
        "/rerank",
    }
)
"""Paths at which an engine's HTTP server accepts work; not its health checks and lists of models."""


class Pick(Struct, frozen=True):
    """
    Selector of the samples of metric *name* whose labels have one of the values in *where*.

    The samples of `plus` are added. If the page has the metric `zero_beside`, a missing *name* counts as 0:
    some engines show a counter only after its first use.
    """

    name: str
    where: Labels = ()
    plus: "tuple[Pick, ...]" = ()
    zero_beside: str = ""


Role = tuple[Pick, ...]
"""Selectors of one fact, by the names that versions of the engine use; the first on the page is read."""

HISTOGRAMS = frozenset(("time_to_first_token", "time_per_output_token", "inter_token_latency"))
"""Roles that select histograms, by the name without `_bucket`, `_sum` or `_count`."""

# Buckets of a histogram, and processes of one server that each show the same gauge.
_BREAKDOWN = frozenset(("le", "pid"))
_GAUGES = frozenset(("running", "waiting", "kv_cache_usage", "process_start"))


class EngineKind(Struct, frozen=True, kw_only=True):
    """
    One engine: how its page and its processes are recognised, what is read, and its caveats.

    Counters and gauges are summed over all their series: a label that the row does not name tells replicas
    apart. `rank_labels` identify the data-parallel ranks. `mirror_labels` identify ranks that do the same
    work together; only the lowest of these ranks counts.

    - `role_label` has the value `prefill` or `decode` on the page of such a worker.
    - `prompt_computed`, `prompt_cached`: read directly if the page has both. If it has one, the other is
      the rest of `prompt_tokens`. A row has neither if its engine does not separate them.
    - `prompt_external`: prompt tokens whose KV cache came from outside the GPU. Then `prompt_cached` are
      those from the GPU's own cache. Of the external ones, `prompt_own_tiers` came from memory or disk of
      this engine, `prompt_unnamed_tier` from a place that the page does not name, the rest from a peer.
    - `first_tokens`, `finished`: requests that got their first token, and that ended. With `running` they
      give the aborted requests of an engine that does not count these.
    - `requests_ended`: all ends, aborts included, for an engine that does not count successes alone.
    - `finished_output_tokens`: output of ended requests. With `aborts_leave_output`, the rest of the output
      belongs to aborted requests once no request is in flight.
    - `time_per_output_token` has one observation a request, `inter_token_latency` one a token or step.
    - `flops_per_gpu` stays at 0 if counting is off.

    An engine is recognised by any metric of its row that begins with `prefix`, or, without a prefix, by those
    of `recognised_by`. The latter are counters of its work: only they show a restart. While none of
    `appear_with_requests` counts anything, those that the page lacks are 0.

    With `ends_may_share_reason`, versions of the engine count every end under the reason of
    `requests_cut_short`.

    A `frontend` counts tokens that other engines generate. An engine that is `tried_last` may share a page
    with another engine, which then has the page. `launch` describes the processes; without it, the engine is
    not discovered. `port` is the usual port of the page, for the documentation. An older version of an engine
    has a row of its own, and in `also` the name that the configuration uses. Readers of the figures need the
    `caveats`. An engine whose page is that of another one names it in `shows`.
    """

    name: str
    also: str = ""
    shows: str = ""
    title: str
    known_from: str
    counts_at: CountsAt
    port: int
    paths: tuple[str, ...] = ("/metrics",)
    draining_paths: tuple[str, ...] = ()
    frontend: bool = False
    tried_last: bool = False
    launch: Launch | None = None
    aborts_leave_output: bool = False
    ends_may_share_reason: bool = False
    caveats: tuple[str, ...] = ()
    model_label: str = "model_name"
    role_label: str = ""
    rank_labels: tuple[str, ...] = ("engine",)
    mirror_labels: tuple[str, ...] = ()
    recognised_by: frozenset[str]
    prefix: str = ""
    appear_with_requests: frozenset[str] = frozenset()
    output_tokens: Role = ()
    finished_output_tokens: Role = ()
    prompt_tokens: Role = ()
    prompt_computed: Role = ()
    prompt_cached: Role = ()
    prompt_external: Role = ()
    prompt_own_tiers: Role = ()
    prompt_unnamed_tier: Role = ()
    requests_ok: Role = ()
    requests_ended: Role = ()
    requests_aborted: Role = ()
    requests_failed: Role = ()
    requests_cut_short: Role = ()
    http_rejected: Role = ()
    http_failed: Role = ()
    first_tokens: Role = ()
    finished: Role = ()
    aborted_tokens: Role = ()
    failed_tokens: Role = ()
    recomputed_tokens: Role = ()
    draft_tokens: Role = ()
    accepted_draft_tokens: Role = ()
    time_to_first_token: Role = ()
    time_per_output_token: Role = ()
    inter_token_latency: Role = ()
    flops_per_gpu: Role = ()
    preemptions: Role = ()
    running: Role = ()
    waiting: Role = ()
    kv_cache_usage: Role = ()
    process_start: Role = (Pick("process_start_time_seconds"),)

    def roles(self) -> dict[str, Role]:
        """Return the roles that this engine has, by name."""
        return {
            name: value
            for name, value in asdict(self).items()
            if isinstance(value, tuple) and value and isinstance(value[0], Pick)
        }

    def breakdown_labels(self) -> frozenset[str]:
        """Return the labels that divide one replica's counter; all others tell replicas apart."""
        picks = [pick for role in self.roles().values() for one in role for pick in (one, *one.plus)]
        return _BREAKDOWN.union(label for pick in picks for label, _ in pick.where)

    def families(self) -> frozenset[str]:
        """Return the names of all metrics that are read from this engine's page."""
        return self.recognised_by.union(*(_names(role, picks) for role, picks in self.roles().items()))

    def recognises(self, names: Iterable[str]) -> bool:
        """Return whether one of *names*, which are `families` of some engines, is this engine's own."""
        return any(self.is_own(name) for name in names)

    def is_own(self, name: str) -> bool:
        """Return whether a metric of `families` is the engine's own, not one of its process or server."""
        return name in self.recognised_by or bool(self.prefix and name.startswith(self.prefix))

    def counters(self) -> frozenset[str]:
        """Return those of `families` that never decrease while the engine runs."""
        counters = ((role, picks) for role, picks in self.roles().items() if role not in _GAUGES)
        return frozenset().union(*(_names(role, picks) for role, picks in counters))


def where(**labels: str | frozenset[str]) -> Labels:
    """Return a label filter: each label must have the given value, or one of the given values."""
    values = {name: frozenset({value}) if isinstance(value, str) else value for name, value in labels.items()}
    return tuple(values.items())


def renamed(kind: EngineKind, old: str, new: str) -> dict[str, Role | frozenset[str] | str]:
    """Return the metric names of *kind* with the prefix *new* in place of *old*, as fields for a row."""

    def name(name: str) -> str:
        return new + name.removeprefix(old) if name.startswith(old) else name

    def pick(one: Pick) -> Pick:
        plus = tuple(pick(other) for other in one.plus)
        return replace(one, name=name(one.name), plus=plus, zero_beside=name(one.zero_beside))

    roles: dict[str, Role | frozenset[str] | str] = {
        role: tuple(pick(one) for one in picks) for role, picks in kind.roles().items()
    }
    return roles | {
        "recognised_by": frozenset(name(one) for one in kind.recognised_by),
        "appear_with_requests": frozenset(name(one) for one in kind.appear_with_requests),
        "prefix": name(kind.prefix),
    }


def histogram_series(pick: Pick) -> tuple[str, str]:
    """Return the names of a histogram's buckets and of its sum."""
    return f"{pick.name}_bucket", f"{pick.name}_sum"


def _names(role: str, picks: Role) -> frozenset[str]:
    if role in HISTOGRAMS:
        return frozenset(name for pick in picks for name in histogram_series(pick))
    return frozenset().union(*map(_counter_names, picks))


def _counter_names(pick: Pick) -> frozenset[str]:
    beside = {pick.zero_beside} - {""}
    return frozenset({pick.name, *beside}).union(*map(_counter_names, pick.plus))
