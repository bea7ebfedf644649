"""Generator of docs/engines.md, from the rows that read the engines."""

from collections.abc import Iterator, Sequence

from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.kind import EngineKind, Pick, Role

PROSE = """\
# Engines

<!-- Generated from perwatt_agent/engine/kinds by `make docs`; do not edit. -->

perwatt reads the engine's own metrics page, and sends nothing but GET requests. With `engine: auto` it
recognises an engine by its metrics: the first row below that matches a page is used. A value that the engine
does not report is absent, never 0.

**When counts move.** Some engines count a request only when it ends. A short window may then contain tokens
of requests that began long before it, and miss tokens of requests that end after it. Such figures carry
`counts_at_request_end`, and are valid only if the window is long enough: see `docs/validity.md`.

**Ranks.** Data-parallel ranks and replicas add up, whatever label tells them apart: a stage, a version, the
`instance` of a federated page. A page must show each replica once. What follows from several metrics, such as
aborted requests that the engine does not count, is absent unless each replica shows all of them. Ranks that
do the same work together count once. A rank that disappears keeps its counts until the engine restarts, and
a rank that resets adds to them. An engine counts as restarted if its process changed, or if no rank continues
from its previous counts.

**One page, one process.** If an address leads to several engines in turn, as with a load balancer, the start
time of the process or the counts change back to earlier ones. The endpoint then fails with
`several_processes` and shows no counts. It is read again after 60 pages in a row without a change of process:
five minutes, if `engines.interval` is 5 s. Configure an endpoint for each process, each with an address of
its own. A restart is one change, to a new start time and new counts, and does not fail. On pages without a
start time, two busy processes that change places only every few minutes may look like one or two restarts,
whose first counts are then added; from the third one within 15 minutes on, nothing is valid.

**One page, one endpoint.** Two endpoints whose addresses lead to one page count its tokens twice. The agent
finds them once their pages have shown one process, and counts that continue each other's, six times. It logs
an error, and their figures are not valid (`gpus_missing`). It keeps this in `data_dir` over restarts. It ends
when one of the two is removed from the configuration, when their counts differ, or when they show different
processes six times in a row. A process that only one of them shows for a moment does not end it.

**Roles.** A `prefill` worker generates one token for each request. That token is not output, and the request
is counted by the `decode` worker. On a `decode` worker, prompt tokens whose KV cache came from another worker
are neither computed nor cached; if the page does not separate them, all its prompt tokens are absent. On a
`mixed` or `prefill` worker, tokens from a further cache of the engine (KV offload, LMCache) are cached
tokens. A `router`, and any endpoint without a GPU, shows only running and waiting requests.

The role comes from the configuration, from the launch of a process or of a pod's container, from a label of
the pod (`role`, `component`), or from a label on the page (SGLang's `engine_type`). If a launch joins workers
without a role (vLLM's `kv_both` with a connector such as `NixlConnector`), a router decides what each of them
does. Such a worker counts as a prefill worker until a request of more than one token has ended, which is
reported as `role_unknown`. Afterwards its output counts, and prompt tokens that came from outside the GPU
count only if they came from its own memory or disk. Configure its `role` to count from the start.

**Bad values.** If a token count is negative, infinite or NaN, the whole page is rejected, and the joules wait
for the next valid page. Any other bad value is absent. A repeated series counts once. If a page has several
models, the endpoint's `model` selects one. If a page has no model name, the configured name is used.

**Effective tokens** are the output of requests that ended by stop or length, if the engine reports them.

**Wasted tokens** were computed but not delivered: output of aborted and failed requests, tokens computed
again, rejected drafts. Each cause is shown only if the page reports it. It is never the difference of two
counts that include requests in flight. If aborted output is the output that no ended request accounts for,
it is shown while no request runs or waits, and absent at other times. Rejected drafts are drafted tokens
less accepted tokens; the count never decreases.

**Latencies** are the engine's own histograms with its own buckets, unchanged. The time to first token and
the time per output token have one observation a request, the inter-token latency one a token or step. Ranks
add up if their buckets are the same. An invalid histogram is left out and counted as `bad_histogram` in
`perwatt_collector_failures_total`; the rest of the page is used. A histogram is invalid if counts decrease
from bucket to bucket, if a bound is not a number, if `+Inf` is missing, if a value is NaN, or if there are
more than 100 buckets. A `prefill` worker shows no latencies, as its requests do not come from clients. A
`decode` worker shows no time to first token.

Describe an engine that is not listed here under `engines.kinds` of the agent's configuration.
"""

_MOVES = {"live": "while a request runs", "request_end": "when a request ends"}
_FACTS: dict[str, tuple[str, ...]] = {
    "output": ("output_tokens",),
    "effective output": ("finished_output_tokens",),
    "prompt": ("prompt_tokens",),
    "computed prompt": ("prompt_computed",),
    "cached prompt": ("prompt_cached",),
    "prompt from outside the GPU": ("prompt_external",),
    "of these from own memory or disk, unnamed": ("prompt_own_tiers", "prompt_unnamed_tier"),
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
        page = " or ".join(f"`:{kind.port}{path}`" for path in kind.paths) or "none"
        name = f"`{kind.also or kind.name}`" if kind.recognised_by or kind.shows else ""
        cells = (kind.title, name, page, _MOVES[kind.counts_at], _unit(kind))
        yield f"| {' | '.join((*cells, kind.known_from))} |"


def _unit(kind: EngineKind) -> str:
    if kind.output_tokens:
        return "output tokens"
    if kind.shows:
        return f"as `{kind.shows}`"
    if not kind.recognised_by:
        return "none"
    return "prompt tokens" if kind.prompt_computed else "requests"


def _chapter(kind: EngineKind) -> str:
    facts = {
        title: [role for name in names if (role := getattr(kind, name))] for title, names in _FACTS.items()
    }
    rows = [f"| {title} | {_cell(roles)} |" for title, roles in facts.items() if roles]
    caveats = [f"- {caveat}" for caveat in kind.caveats]
    table = ["| what | series |", "| --- | --- |", *rows] if rows else []
    parts = ([f"## {kind.title}"], caveats, table)
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _cell(roles: list[Role]) -> str:
    """Return the series of several roles; older names of a role follow "else"."""
    return "; ".join(" else ".join(_series(pick) for pick in role) for role in roles)


def _series(pick: Pick) -> str:
    filters = ",".join(f'{label}="{_values(values)}"' for label, values in pick.where)
    own = f"`{pick.name}{{{filters}}}`" if filters else f"`{pick.name}`"
    return " + ".join([own, *(_series(other) for other in pick.plus)])


def _values(values: frozenset[str]) -> str:
    """Return the values, or the first and last of a long list, without characters that break a table."""
    known = sorted(values)
    return "/".join(known) if len(known) <= 3 else f"{known[0]} ... {known[-1]}"
