"""vLLM's frontend in Rust: its counters appear with the first request, and it counts aborts itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import Engine, engine_page, kind_named, page_server, without

from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.kind import EngineKind
from perwatt_agent.engine.kinds.vllm import VLLM

AFTER = engine_page("vllm-0.32.0-4-after")
LABELS = 'model_name="m",engine="0"'
IDLE = f"""\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{{LABELS}}} 0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{{LABELS}}} 0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{{LABELS}}} 0.0
# TYPE vllm:prefix_cache_queries counter
vllm:prefix_cache_queries_total{{{LABELS}}} 0
vllm:prefix_cache_hits_total{{{LABELS}}} 0
vllm:estimated_flops_per_gpu_total{{{LABELS}}} 0
http_request_duration_highr_seconds_count 0
# EOF
"""
"""Written after the source: before the first request there are only the scheduler's metrics."""


PREFIXED = [kind for kind in ENGINES if kind.prefix and not kind.also]


class Requests:
    """The truth behind the frontend's counters: every end is counted and observed, an abort included."""

    def __init__(self) -> None:
        self.waiting_for_first = self.decoding = self.first_tokens = 0
        self.tokens = self.ended_tokens = 0.0
        self.ends = {"stop": 0, "abort": 0}
        self.aborted_tokens = 0.0
        self.running_tokens: list[float] = []

    def happens(self, event: str) -> None:
        if event == "start":
            self.waiting_for_first += 1
        elif event == "first" and self.waiting_for_first:
            self.waiting_for_first -= 1
            self.first_tokens += 1
            self.running_tokens.append(1)
            self.tokens += 1
        elif event == "decode":
            self.tokens += len(self.running_tokens)
            self.running_tokens = [count + 1 for count in self.running_tokens]
        elif event == "abort early" and self.waiting_for_first:
            self.waiting_for_first -= 1
            self.ends["abort"] += 1
        elif event in ("stop", "abort") and self.running_tokens:
            tokens = self.running_tokens.pop()
            self.ended_tokens += tokens
            self.ends[event] += 1
            self.aborted_tokens += tokens if event == "abort" else 0

    def page(self) -> str:
        ends = "".join(
            f'vllm:request_success_total{{{LABELS},finished_reason="{reason}"}} {count}\n'
            for reason, count in self.ends.items()
            if count
        )
        if not self.first_tokens and not ends:
            return IDLE.replace(f"running{{{LABELS}}} 0", f"running{{{LABELS}}} {self.waiting_for_first}")
        return (
            f"vllm:num_requests_running{{{LABELS}}} {self.waiting_for_first + len(self.running_tokens)}\n"
            f"vllm:num_requests_waiting{{{LABELS}}} 0\n"
            f"vllm:num_preemptions_total{{{LABELS}}} 0\n"
            f"vllm:generation_tokens_total{{{LABELS}}} {self.tokens}\n"
            f"vllm:request_generation_tokens_sum{{{LABELS}}} {self.ended_tokens}\n"
            f"vllm:time_to_first_token_seconds_count{{{LABELS}}} {self.first_tokens}\n"
            f"vllm:e2e_request_latency_seconds_count{{{LABELS}}} {sum(self.ends.values())}\n"
            f"{ends}"
        )


class TestIdle:
    async def test_recognised(self) -> None:
        """An engine that has had no request since its start is one, with no tokens and no requests."""
        async with page_server(IDLE.encode()) as server:
            reader = EnginePageReader(server.url)
            counts = await reader.read()

        assert ("vllm", "m", 0, 0, 0) == (
            reader.engine,
            counts.model,
            counts.output_tokens,
            counts.requests_ok,
            counts.requests_running,
        )
        assert (0, 0) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    def test_a_name_that_is_gone(self) -> None:
        """After the first request, what the page lacks is absent: a later version may have renamed it."""
        assert None is Engine(VLLM).read(without(AFTER, "vllm:generation_tokens_total")).output_tokens

    @pytest.mark.parametrize("name", ["aphrodite", "ray"])
    def test_other_prefixes(self, name: str) -> None:
        """The same holds where the metrics have another prefix."""
        prefix = {"aphrodite": "aphrodite:", "ray": "ray_vllm_"}[name]

        assert 0 == Engine(kind_named(name)).read(IDLE.replace("vllm:", prefix)).output_tokens

    @pytest.mark.parametrize(
        "kind", [one for one in ENGINES if one.prefix and not one.also], ids=lambda one: one.name
    )
    async def test_every_engine(self, kind: EngineKind) -> None:
        """Any engine is recognised by each of its own metrics alone."""
        for name in sorted(filter(kind.is_own, kind.families())):
            async with page_server(f"{name} 0\n".encode()) as server:
                reader = EnginePageReader(server.url, model="m")
                await reader.read()

            assert kind.name == reader.engine or kind.name == kind_named(reader.engine).also


class TestAborts:
    def test_early(self) -> None:
        """Aborts before the first token do not hide those after it."""
        engine = Requests()
        for event in [
            "start",
            "first",
            "stop",
            *["start"] * 3,
            *["abort early"] * 3,
            *["start", "first", "abort"] * 2,
        ]:
            engine.happens(event)

        assert 5 == Engine(VLLM).read(engine.page()).requests_aborted

    def test_wasted(self) -> None:
        """Their tokens are among those of ended requests, so what they wasted is not known, and not 0."""
        engine = Requests()
        for event in ["start", "first", "decode", "abort"]:
            engine.happens(event)

        assert {} == Engine(VLLM).read(engine.page()).wasted_tokens

    @given(
        st.lists(st.sampled_from(["start", "first", "decode", "stop", "abort", "abort early"]), max_size=40)
    )
    def test_any_schedule(self, events: list[str]) -> None:
        """Aborts are exact, tokens are exact, and wasted tokens are exact or absent."""
        engine, reader = Requests(), Engine(VLLM)
        for event in events:
            engine.happens(event)
            counts = reader.read(engine.page())

            assert engine.ends["abort"] == counts.requests_aborted
            assert engine.tokens == counts.output_tokens
            assert counts.wasted_tokens.get("aborted", engine.aborted_tokens) == engine.aborted_tokens
