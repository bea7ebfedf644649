"""What a row of the table of engines is: which series of a page plays which role."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import asdict, replace

from perwatt_agent.engine.launch import Launch

CountsAt = Literal["live", "request_end"]

Labels = tuple[tuple[str, frozenset[str]], ...]


class Pick(Struct, frozen=True):
    """
    The samples of one metric *name* whose labels have one of the values that *where* allows.

    `plus` are added to them. Where `zero_beside` names a metric that the page has, an absent *name* is 0:
    some engines show a counter from its first use on.
    """

    name: str
    where: Labels = ()
    plus: "tuple[Pick, ...]" = ()
    zero_beside: str = ""


Role = tuple[Pick, ...]
"""Names of one fact through an engine's versions: the first that the page has is the one that is read."""

HISTOGRAMS = frozenset(("time_to_first_token", "time_per_output_token", "inter_token_latency"))
"""Roles whose picks name histograms, without the ending of any of their series."""

_GAUGES = frozenset(("running", "waiting", "kv_cache_usage", "process_start"))


class EngineKind(Struct, frozen=True, kw_only=True):
    """
    One engine: how it is recognised, what is read, and what must be known of it.

    Counters are summed over all that their labels tell apart. `rank_labels` tell the engine's replicas
    apart, `mirror_labels` the ranks that do the same work together, of which only the lowest counts.

    `prompt_computed` and `prompt_cached` are read as they stand where the page has both; with one of
    them, the other is what is left of `prompt_tokens`. A row whose engine cannot tell the two apart has
    neither. `first_tokens` and `finished` count requests that had their first token, and that ended;
    both with `running` derive aborts that an engine does not count. `requests_ended` counts every end,
    aborts included, for engines that do not count good ends by themselves. `finished_output_tokens`
    are those of ended requests; where `aborts_leave_output`, the rest of the output is that of aborted
    requests as soon as nothing is in flight. `time_per_output_token` is observed once a request,
    `inter_token_latency` once a token or step. `flops_per_gpu` stays at 0 while the engine does not count.

    A `frontend` counts what other engines made. `caveats` are for whoever reads the figures.
    """

    name: str
    also: str = ""
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
    caveats: tuple[str, ...] = ()
    model_label: str = "model_name"
    rank_labels: tuple[str, ...] = ("engine",)
    mirror_labels: tuple[str, ...] = ()
    recognised_by: frozenset[str]
    output_tokens: Role = ()
    finished_output_tokens: Role = ()
    prompt_tokens: Role = ()
    prompt_computed: Role = ()
    prompt_cached: Role = ()
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
        """Return every role that is read, by its name."""
        return {
            name: value
            for name, value in asdict(self).items()
            if isinstance(value, tuple) and value and isinstance(value[0], Pick)
        }

    def families(self) -> frozenset[str]:
        """Return every metric name that this engine's page is read for."""
        return self.recognised_by.union(*(_names(role, picks) for role, picks in self.roles().items()))

    def counters(self) -> frozenset[str]:
        """Return the names, of those, that only ever grow while the engine lives."""
        counters = ((role, picks) for role, picks in self.roles().items() if role not in _GAUGES)
        return frozenset().union(*(_names(role, picks) for role, picks in counters))


def where(**labels: str | frozenset[str]) -> Labels:
    """Return a filter: each label must have its value, or one of its values."""
    values = {name: frozenset({value}) if isinstance(value, str) else value for name, value in labels.items()}
    return tuple(values.items())


def renamed(kind: EngineKind, old: str, new: str) -> dict[str, Role | frozenset[str]]:
    """Return the roles and marks of *kind* for an engine that shows them as *new*... instead of *old*..."""

    def name(name: str) -> str:
        return new + name.removeprefix(old) if name.startswith(old) else name

    def pick(one: Pick) -> Pick:
        plus = tuple(pick(other) for other in one.plus)
        return replace(one, name=name(one.name), plus=plus, zero_beside=name(one.zero_beside))

    roles: dict[str, Role | frozenset[str]] = {
        role: tuple(pick(one) for one in picks) for role, picks in kind.roles().items()
    }
    return roles | {"recognised_by": frozenset(name(one) for one in kind.recognised_by)}


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
