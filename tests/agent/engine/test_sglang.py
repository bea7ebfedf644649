"""What is read from SGLang's pages: the recorded run, and the traps they set."""

import json
from typing import Any

import pytest
from support.engines.engine_pages import (
    ENGINE_PAGES,
    Engine,
    engine_page,
    kind_named,
    without,
    without_latencies,
)

from perwatt_agent.facts.engine_counts import EngineCounts

STAGES = ("1-idle", "2-underload-1", "2-underload-4", "3-after")
IDLE, LOAD_1, LOAD_4, AFTER = (engine_page(f"sglang-0.5.23-{stage}") for stage in STAGES)
SGLANG, BEFORE_0_5_8 = kind_named("sglang"), kind_named("sglang-before-0.5.8")
WARM_UP_PROMPT_TOKENS, WARM_UP_OUTPUT_TOKENS = 27, 8


def client_truth(name: str) -> dict[str, Any]:
    return json.loads((ENGINE_PAGES / f"sglang-0.5.23-client-truth{name}.json").read_text())


def read(*pages: bytes) -> EngineCounts:
    engine = Engine(SGLANG)
    return [engine.read(page) for page in pages][-1]


def like_0_5_3(page: bytes) -> bytes:
    """The page without the counters that move while a request runs."""
    return without(page, "sglang:realtime_tokens_total")


class TestRecordedRun:
    def test_after(self) -> None:
        """On each page from idle to after, every count equals that on the page."""
        expected = EngineCounts(
            model="tiny-llama",
            output_tokens=1692 + 35,
            prompt_computed_tokens=1020,
            prompt_cached_tokens=5067,
            effective_output_tokens=1723,
            requests_ok=35,
            requests_aborted=0,
            requests_error=8,
            requests_running=0,
            requests_waiting=0,
            kv_cache_usage_ratio=0,
            preemptions=0,
            wasted_tokens={"recomputed": 0},
        )

        assert expected == without_latencies(read(IDLE, LOAD_1, LOAD_4, AFTER))

    def test_client(self) -> None:
        """
        Prompts, requests, refusals and billed output are the client's exactly, besides the warm-up;
        live output exceeds the client's by fewer than one token a request.
        """
        counts, runs = read(AFTER), [client_truth("-warm"), client_truth("")]
        output = sum(run["completion_tokens"] for run in runs) + WARM_UP_OUTPUT_TOKENS
        prompt = sum(run["prompt_tokens"] for run in runs) + WARM_UP_PROMPT_TOKENS
        requests = sum(run["requests"] for run in runs) + 1

        assert prompt == counts.prompt_computed_tokens + counts.prompt_cached_tokens
        assert (requests, runs[1]["rejected"]) == (counts.requests_ok, counts.requests_error)
        assert output == counts.effective_output_tokens
        assert output <= counts.output_tokens < output + requests

    def test_warm_up(self) -> None:
        """The engine's own warm-up request is in its counts, unaltered: it took joules as well."""
        counts = read(IDLE)

        assert WARM_UP_OUTPUT_TOKENS == counts.output_tokens == counts.effective_output_tokens
        assert (WARM_UP_PROMPT_TOKENS, 0) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)
        assert 1 == counts.requests_ok

    def test_live(self) -> None:
        """Output moves while requests run, long before the engine bills it."""
        first, last = read(LOAD_1), read(LOAD_4)

        assert (215 + 10, 110) == (first.output_tokens, first.effective_output_tokens)
        assert (568 + 12, 424) == (last.output_tokens, last.effective_output_tokens)
        assert (5, 0) == (last.requests_running, last.requests_waiting)
        assert last.kv_cache_usage_ratio == pytest.approx(0.06)


class TestBefore058:
    def test_billed(self) -> None:
        """Without live counters the billed tokens count, and the row says when they move."""
        engine = Engine(BEFORE_0_5_8)
        counts = engine.read(like_0_5_3(AFTER))

        assert 1723 == counts.output_tokens
        assert (1020, 5067) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)
        assert ("request_end", "live") == (BEFORE_0_5_8.counts_at, SGLANG.counts_at)

    def test_aborts_unknown(self) -> None:
        """Where aborts may not be counted at all, nor are good ends known before the first abort."""
        page = like_0_5_3(AFTER)
        aborted = b'sglang:num_aborted_requests_total{model_name="tiny-llama"} 4.0\n'
        before, after = Engine(BEFORE_0_5_8).read(page), Engine(BEFORE_0_5_8).read(page + aborted)

        assert (None, None) == (before.requests_ok, before.requests_aborted)
        assert (31, 4) == (after.requests_ok, after.requests_aborted)


class TestAborted:
    def test_counted_as_requests(self) -> None:
        """SGLang counts aborted requests as requests: they are taken off again."""
        aborted = b'sglang:num_aborted_requests_total{engine_type="unified",model_name="tiny-llama"} 4.0\n'
        counts = read(AFTER, AFTER + aborted)

        assert (35, 4) == (counts.requests_ok, counts.requests_aborted)
        assert (31, 4) == (read(AFTER + aborted).requests_ok, read(AFTER + aborted).requests_aborted)

    def test_effective(self) -> None:
        """After an abort, the tokens of successful requests can no longer be separated."""
        aborted = b'sglang:num_aborted_requests_total{engine_type="unified",model_name="tiny-llama"} 1.0\n'

        assert read(AFTER + aborted).effective_output_tokens is None


class TestRanks:
    def test_tensor_parallel(self) -> None:
        """Both ranks of a tensor-parallel engine show the same work: it counts once."""
        one = read(AFTER)
        both = read(AFTER + AFTER.replace(b'tp_rank="0"', b'tp_rank="1"'))
        pipeline = read(AFTER + AFTER.replace(b'pp_rank="0"', b'pp_rank="1"'))

        assert one == both == pipeline

    def test_data_parallel(self) -> None:
        """Ranks that do work of their own add up; usage of their caches is a mean."""
        zero, other = (
            LOAD_4.replace(b'tp_rank="0"', b'tp_rank="%d",dp_rank="%d"' % (rank, rank)) for rank in (0, 1)
        )
        # What the tokenizer counts has no rank, and is there once.
        other = b"".join(line + b"\n" for line in other.splitlines() if b"dp_rank" in line)
        one, both = read(LOAD_4), read(zero + other)

        assert 2 * one.prompt_computed_tokens == both.prompt_computed_tokens
        assert one.output_tokens + 568 == both.output_tokens
        assert 2 * one.requests_running == both.requests_running
        assert one.kv_cache_usage_ratio == both.kv_cache_usage_ratio

    def test_nan(self) -> None:
        """NaN is legal on SGLang's pages: where nothing of ours is meant, it does not matter."""
        assert b"fwd_occupancy" in AFTER
        assert b" NaN" in AFTER
        assert read(AFTER).output_tokens is not None

    def test_no_process_start(self) -> None:
        """SGLang shows neither its start nor `_created`: a count that decreased shows a restart."""
        assert b"process_start_time_seconds" not in AFTER
        assert b"_created" not in AFTER
        assert read(AFTER).process_start_unix_seconds is None
        assert (8, 1) == (read(AFTER, IDLE).output_tokens, read(AFTER, IDLE).requests_ok)
