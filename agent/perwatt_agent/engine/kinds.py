"""
The engines that are understood: one row each, which says what series plays what role on its page.

To add an engine, add a row and a test over a recorded page of it.
"""

from msgspec import Struct
from msgspec.structs import astuple


class Pick(Struct, frozen=True):
    """The samples of one metric *name* whose labels have one of the values that *where* allows."""

    name: str
    where: tuple[tuple[str, frozenset[str]], ...] = ()


Role = tuple[Pick, ...]
"""Names of one fact through an engine's versions: the first that the page has is the one that is read."""


class EngineKind(Struct, frozen=True, kw_only=True):
    """
    One engine. Counters are summed over all that their labels tell apart, data-parallel ranks included.

    `prompt_computed` and `prompt_cached` are read as they stand where the page has both; else computed
    is `prompt_tokens` - `prompt_cached`. `first_tokens` and `finished` count requests that had their
    first token, and that ended; both with `running` derive aborts that an engine does not count.
    """

    name: str
    model_label: str
    recognised_by: frozenset[str]
    output_tokens: Role
    finished_output_tokens: Role = ()
    prompt_tokens: Role = ()
    prompt_computed: Role = ()
    prompt_cached: Role = ()
    requests_ok: Role = ()
    requests_aborted: Role = ()
    requests_failed: Role = ()
    requests_cut_short: Role = ()
    http_rejected: Role = ()
    http_failed: Role = ()
    first_tokens: Role = ()
    finished: Role = ()
    preemptions: Role = ()
    running: Role = ()
    waiting: Role = ()
    process_start: Role = (Pick("process_start_time_seconds"),)

    def families(self) -> frozenset[str]:
        """Return every metric name that this engine's page is read for."""
        roles = (role for role in astuple(self) if isinstance(role, tuple))
        return self.recognised_by.union(pick.name for role in roles for pick in role)


def _where(**labels: str | frozenset[str]) -> tuple[tuple[str, frozenset[str]], ...]:
    values = {name: frozenset({value}) if isinstance(value, str) else value for name, value in labels.items()}
    return tuple(values.items())


def _vllm_finished(*reasons: str) -> Role:
    return (Pick("vllm:request_success_total", _where(finished_reason=frozenset(reasons))),)


def _vllm_prompt(source: str) -> Pick:
    return Pick("vllm:prompt_tokens_by_source_total", _where(source=source))


# Where an engine's HTTP server is asked for work, as opposed to health and lists of models.
_WORK_HANDLERS = frozenset(
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


def _http(status: str) -> Role:
    return (Pick("http_requests_total", _where(status=status, method="POST", handler=_WORK_HANDLERS)),)


VLLM = EngineKind(
    name="vllm",
    model_label="model_name",
    recognised_by=frozenset({"vllm:generation_tokens_total", "vllm:prompt_tokens_total"}),
    output_tokens=(Pick("vllm:generation_tokens_total"),),
    finished_output_tokens=(Pick("vllm:request_generation_tokens_sum"),),
    prompt_tokens=(Pick("vllm:prompt_tokens_total"),),
    # The third source, external_kv_transfer, is left out on purpose: those tokens were computed or
    # cached, and are counted, by another member of the group.
    prompt_computed=(_vllm_prompt("local_compute"),),
    prompt_cached=(
        _vllm_prompt("local_cache_hit"),
        Pick("vllm:prompt_tokens_cached_total"),
        Pick("vllm:prefix_cache_hits_total"),
        Pick("vllm:gpu_prefix_cache_hits_total"),  # 0.9
    ),
    requests_ok=_vllm_finished("stop", "length"),
    requests_aborted=_vllm_finished("abort"),
    requests_failed=_vllm_finished("error"),
    requests_cut_short=_vllm_finished("repetition"),
    http_rejected=_http("4xx"),
    http_failed=_http("5xx"),
    first_tokens=(Pick("vllm:time_to_first_token_seconds_count"),),
    finished=(Pick("vllm:e2e_request_latency_seconds_count"),),
    preemptions=(Pick("vllm:num_preemptions_total"),),
    running=(Pick("vllm:num_requests_running"),),
    waiting=(Pick("vllm:num_requests_waiting"),),
)

ENGINES: tuple[EngineKind, ...] = (VLLM,)
