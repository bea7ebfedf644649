"""The reference of the engines that are understood, made from the table that reads them."""

from collections.abc import Iterator, Sequence

from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind, Pick, Role

PROSE = """\
# Engines

<!-- Generated from perwatt_agent/engine/kinds by `make docs`; do not edit. -->

perwatt reads an engine's own page of metrics, only ever by GET. `engine: auto` tells an engine by its
metrics; the first row below that recognises a page has it. What an engine cannot tell is absent, never 0.

**When counts move.** Where they move when a request ends, a short window may hold the tokens of requests
that began long before it, or miss those of requests that end after it. Such figures carry
`counts_at_request_end` and are not valid unless the window is long enough: see `docs/validity.md`.

**Ranks.** Data-parallel ranks and replicas add up; ranks that do the same work together count once. A rank
that vanishes keeps its counts until the engine restarts, one that starts anew adds to them. An engine has
restarted when its process is another, or no rank of it counts on from where it was.

**Roles.** A `prefill` worker's one token a request is no output, and its requests are counted where they are
decoded. On a `decode` worker, prompt tokens whose KV came from elsewhere are neither computed nor cached;
where its page does not tell them apart, its prompt tokens are absent. A `router`, and whatever holds no GPU,
shows what runs and waits and nothing else.

**Bad values.** Tokens that are negative, infinite or NaN refuse the page, and the joules wait for a page
that can be believed; any other such value is absent. A series that is there twice counts once. Of several
models on a page the endpoint's `model` chooses one; an engine that does not name its model has the
configured name.

**Effective tokens** are output of requests that ended by stop or length, as far as the engine tells.

**Wasted tokens** took work and nobody got them: output of aborted and of failed requests, tokens computed
again, drafts that were rejected. Each cause is shown where the page tells of it, and never as what is left
of two counts that mix in what is in flight: where aborted output is what no ended request accounts for, it
is shown while nothing runs or waits, and absent in between. Rejected drafts are drafted ones less accepted
ones, which move together, held so that their count never falls.

**Latencies** are the engine's own histograms with its own buckets, as they stand: the time to first token
and the time per output token once a request, the inter-token latency once a token or step. Ranks add up
where their buckets are the same. A histogram that is none - counts that fall from bucket to bucket, a bound
that is no number, no `+Inf`, more than 100 buckets, NaN - is left out and counted as `bad_histogram` in
`perwatt_collector_failures_total`; the rest of the page stands. A `prefill` worker shows none, for its
requests are not the client's; a `decode` worker shows no time to first token.

An engine that is not here can be described under `engines.kinds` of the agent's configuration.
"""

_MOVES = {"live": "while a request runs", "request_end": "when a request ends"}
_FACTS: dict[str, tuple[str, ...]] = {
    "output": ("output_tokens",),
    "effective output": ("finished_output_tokens",),
    "prompt": ("prompt_tokens",),
    "computed prompt": ("prompt_computed",),
    "cached prompt": ("prompt_cached",),
    "requests ok": ("requests_ok", "requests_ended"),
    "requests aborted": ("requests_aborted",),
    "requests in error": ("requests_failed", "requests_cut_short", "http_rejected", "http_failed"),
    "first tokens, ends": ("first_tokens", "finished"),
    "preemptions": ("preemptions",),
    "wasted: aborted, failed, recomputed": ("aborted_tokens", "failed_tokens", "recomputed_tokens"),
    "wasted: drafted, accepted": ("draft_tokens", "accepted_draft_tokens"),
    "time to first token": ("time_to_first_token",),
    "time per output token": ("time_per_output_token",),
    "inter-token latency": ("inter_token_latency",),
    "FLOPs of each GPU": ("flops_per_gpu",),
    "running": ("running",),
    "waiting": ("waiting",),
    "KV cache": ("kv_cache_usage",),
    "process start": ("process_start",),
}


def document(kinds: Sequence[EngineKind] = ENGINES) -> str:
    """Return docs/engines.md: the rules, a table of all engines, then each with its series and caveats."""
    return "\n\n".join([PROSE.rstrip(), "\n".join(_overview(kinds)), *map(_chapter, kinds)]) + "\n"


def _overview(kinds: Sequence[EngineKind]) -> Iterator[str]:
    yield "| engine | `engine` | page | counts move | useful unit | known from |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for kind in kinds:
        page = " or ".join(f"`:{kind.port}{path}`" for path in kind.paths)
        cells = (kind.title, f"`{kind.also or kind.name}`", page, _MOVES[kind.counts_at], _unit(kind))
        yield f"| {' | '.join((*cells, kind.known_from))} |"


def _unit(kind: EngineKind) -> str:
    if kind.output_tokens:
        return "output tokens"
    return "prompt tokens" if kind.prompt_computed else "requests"


def _chapter(kind: EngineKind) -> str:
    facts = {
        title: [role for name in names if (role := getattr(kind, name))] for title, names in _FACTS.items()
    }
    rows = [f"| {title} | {_cell(roles)} |" for title, roles in facts.items() if roles]
    caveats = [f"- {caveat}" for caveat in kind.caveats]
    table = ["| what | series |", "| --- | --- |", *rows]
    return "\n\n".join([f"## {kind.title}", "\n".join(caveats), "\n".join(table)])


def _cell(roles: list[Role]) -> str:
    """The series of several roles; the older names of one stand behind "else"."""
    return "; ".join(" else ".join(_series(pick) for pick in role) for role in roles)


def _series(pick: Pick) -> str:
    filters = ",".join(f'{label}="{_values(values)}"' for label, values in pick.where)
    own = f"`{pick.name}{{{filters}}}`" if filters else f"`{pick.name}`"
    return " + ".join([own, *(_series(other) for other in pick.plus)])


def _values(values: frozenset[str]) -> str:
    """Some of a long list of values, in a form that a table can hold."""
    known = sorted(values)
    return "/".join(known) if len(known) <= 3 else f"{known[0]} ... {known[-1]}"
