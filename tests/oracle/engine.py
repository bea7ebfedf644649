"""Engines of the oracle: tokens at a known rate, and the page that shows them as vLLM does."""

from collections.abc import Callable

from msgspec import Struct

from oracle.clock import NodeClock
from oracle.gpu import TrueGpu
from oracle.truth import Steps
from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_counter import EngineCounter
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.metrics_page import EngineMetricsPage
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.workload import Role
from perwatt_agent.net.prometheus_text import PageError, PageParser

TOKENS_PER_REQUEST = 100.0

Spoiler = Callable[[str], str]


class TrueProcess(Struct):
    """A process that makes a `share` of an engine's tokens since `born`, at its `base` of tokens before."""

    born: float
    base: float = 0.0
    since: float = 0.0
    share: float = 1.0


class TrueEngine:
    """
    An engine that makes output tokens at a known rate on known GPUs.

    `restart` starts its counters anew; tokens go on. A worker that only prefills has `requests`, those of the
    engine that it works for, and delivers nothing. A `decode` worker computes no prompts. Several `processes`
    serve its page in turn: `turn` chooses one of them for each page.
    """

    def __init__(
        self, name: str, model: str, gpus: tuple[TrueGpu, ...], rate: Steps, clock: NodeClock
    ) -> None:
        self.name = name
        self.model = model
        self.gpus = gpus
        self.rate = rate
        self.role: Role = "mixed"
        self.decodes = False
        self.requests: Steps | None = None
        self.is_reachable = True
        self.spoil: Spoiler | None = None
        self.turn: Callable[[], int] = lambda: 0
        self.clock = clock
        now = clock.monotonic()
        # Its counters began before the agent.
        self.processes = [TrueProcess(now - 5.0, since=now - 5.0)]

    def restart(self) -> None:
        now = self.clock.monotonic()
        self.processes = [TrueProcess(now, since=now)]

    def divide(self) -> None:
        """Let a second process make half of the tokens from now on."""
        now, first = self.clock.monotonic(), self.processes[0]
        self.processes = [
            TrueProcess(first.born, self._tokens(first, now), now, 0.5),
            TrueProcess(now, since=now, share=0.5),
        ]

    def page(self) -> str:
        """What its page shows now. Raises EngineFailure."""
        if not self.is_reachable:
            raise EngineFailure("refused", "nobody listens")
        now, process = self.clock.monotonic(), self.processes[self.turn()]
        made = self._tokens(process, now)
        requests = made / TOKENS_PER_REQUEST
        # A prefill worker makes one token for each request of the engine that it works for.
        shown = requests if self.requests is not None else made
        page = _PAGE.format(
            model=self.model,
            start=self.clock.unix() - (now - process.born),
            output=shown,
            prompt=made / 2.0,
            computed=0.0 if self.decodes else made / 2.0,
            external=made / 2.0 if self.decodes else 0.0,
            requests=requests,
        )
        return self.spoil(page) if self.spoil else page

    def _tokens(self, process: TrueProcess, now: float) -> float:
        return process.base + process.share * (self.requests or self.rate).between(process.since, now)


class TruePage:
    """Reader of an engine's page, as the agent has one."""

    engine = VLLM.name

    def __init__(self, engine: TrueEngine, *, shares_kv: bool = False) -> None:
        self._engine = engine
        self._counter = EngineCounter("mixed" if shares_kv else engine.role, shares_kv=shares_kv)
        self._parser = PageParser(VLLM.families())

    @property
    def faults(self) -> tuple[EngineFailure, ...]:
        return self._counter.faults

    async def read(self) -> EngineCounts:
        try:
            samples = self._parser.parse(self._engine.page().encode())
        except PageError as error:
            raise EngineFailure(error.reason, str(error)) from error
        return self._counter.counts(VLLM, EngineMetricsPage(VLLM, samples, None))


_PAGE = """\
process_start_time_seconds {start!r}
vllm:generation_tokens_total{{model_name="{model}"}} {output!r}
vllm:prompt_tokens_total{{model_name="{model}"}} {prompt!r}
vllm:prompt_tokens_by_source_total{{model_name="{model}",source="local_compute"}} {computed!r}
vllm:prompt_tokens_by_source_total{{model_name="{model}",source="local_cache_hit"}} 0.0
vllm:prompt_tokens_by_source_total{{model_name="{model}",source="external_kv_transfer"}} {external!r}
vllm:request_generation_tokens_sum{{model_name="{model}"}} {output!r}
vllm:e2e_request_latency_seconds_count{{model_name="{model}"}} {requests!r}
vllm:request_success_total{{finished_reason="length",model_name="{model}"}} {requests!r}
vllm:request_success_total{{finished_reason="abort",model_name="{model}"}} 0.0
vllm:num_requests_running{{model_name="{model}"}} 1.0
"""
