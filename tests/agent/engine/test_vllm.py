"""What is read from vLLM's pages: the recorded ones to the last token, and the traps they set."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import (
    ENGINE_PAGES,
    Engine,
    changed,
    like_vllm_0_9,
    without,
    without_latencies,
)
from support.engines.vllm_pages import AFTER, IDLE, LABELS, LOAD_1, LOAD_4, WARM, read, success

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.engine_counts import EngineCounts


class TestFlops:
    def test_off(self) -> None:
        """Without its option the engine shows a counter of 0, which counts nothing."""
        assert read(AFTER).flops_per_gpu is None

    def test_mean_over_ranks(self) -> None:
        """What it counts for each GPU is the mean over its replicas, and never falls."""
        name = "vllm:estimated_flops_per_gpu_total"
        other = f'{name}{{engine="1",model_name="tiny-llama"}} 1e+15\n'.encode()
        both = changed(AFTER, f"{name}{LABELS}", "3e+15") + other

        assert [2e15, 2e15] == [read(both).flops_per_gpu, read(both, both).flops_per_gpu]


def client_truth(stage: str) -> dict[str, Any]:
    return json.loads((ENGINE_PAGES / f"vllm-0.32.0-{stage}-client-truth.json").read_text())


class TestRecordedRun:
    def test_after(self) -> None:
        """From idle over warm to after, every count is what the page and the client say."""
        expected = EngineCounts(
            model="tiny-llama",
            output_tokens=4585,
            prompt_computed_tokens=3854,
            prompt_cached_tokens=8832,
            effective_output_tokens=4503,
            requests_ok=64,
            requests_aborted=6,
            requests_error=4,
            requests_running=0,
            requests_waiting=0,
            process_start_unix_seconds=1795279284.8,
            kv_cache_usage_ratio=0,
            preemptions=0,
            wasted_tokens={"aborted": 82},
        )

        assert expected == without_latencies(read(IDLE, WARM, LOAD_1, LOAD_4, AFTER))

    def test_client(self) -> None:
        """What the client received, refused and aborted included, is found again on the page."""
        counts = read(AFTER)
        warm, after = client_truth("2-warm"), client_truth("4-after")

        assert warm["completion_tokens"] + after["completion_tokens"] == counts.effective_output_tokens
        assert warm["requests"] + after["requests"] == counts.requests_ok
        assert (after["aborted"], after["rejected"]) == (counts.requests_aborted, counts.requests_error)

    def test_idle(self) -> None:
        """An engine that has served nothing shows 0, which differs from showing nothing."""
        counts = read(IDLE)

        assert [0.0] * 7 == [
            counts.output_tokens,
            counts.effective_output_tokens,
            counts.prompt_computed_tokens,
            counts.prompt_cached_tokens,
            counts.requests_ok,
            counts.requests_aborted,
            counts.requests_error,
        ]

    def test_under_load(self) -> None:
        """Requests in flight are running, not aborted, and output counts before they end."""
        counts = read(LOAD_4)

        assert (7, 0, 25) == (counts.requests_running, counts.requests_aborted, counts.requests_ok)
        assert (2015, 1627) == (counts.output_tokens, counts.effective_output_tokens)


class TestPromptTokens:
    def test_old_names(self) -> None:
        """vLLM 0.9.2 shows the same under other names, and computed tokens are the rest of all."""
        new, old = read(IDLE, WARM, AFTER), read(*map(like_vllm_0_9, (IDLE, WARM, AFTER)))

        assert new.prompt_computed_tokens == old.prompt_computed_tokens
        assert new.prompt_cached_tokens == old.prompt_cached_tokens
        assert (new.output_tokens, new.requests_ok) == (old.output_tokens, old.requests_ok)

    def test_no_prefix_cache(self) -> None:
        """An engine without a prefix cache computed all its prompts."""
        counts = read(without(like_vllm_0_9(AFTER), "vllm:gpu_prefix_cache_hits_total"))

        assert (12686, 0) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    def test_transferred(self) -> None:
        """Prompt tokens that the page does not ascribe to an own tier came from a peer, which counts them."""
        source = 'vllm:prompt_tokens_by_source_total{engine="0",model_name="tiny-llama",source="%s"}'
        page = changed(AFTER, source % "external_kv_transfer", "3000.0")
        page = changed(page, source % "local_compute", "854.0")
        counts = read(page)

        assert (854, 8832) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    @given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=10))
    def test_hits_ahead_of_prompts(self, steps: list[tuple[int, int]]) -> None:
        """Whenever prompts and hits move, the two sources add up to all prompts and neither falls."""
        endpoint, before = Engine(VLLM), (0.0, 0.0)
        prompts = hits = 0
        for more_prompts, more_hits in steps:
            prompts, hits = prompts + more_prompts, hits + min(more_hits, more_prompts)
            counts = endpoint.read(old_page(prompts, hits))

            assert prompts == counts.prompt_computed_tokens + counts.prompt_cached_tokens
            assert before[0] <= counts.prompt_computed_tokens
            assert before[1] <= counts.prompt_cached_tokens
            before = (counts.prompt_computed_tokens, counts.prompt_cached_tokens)


def old_page(prompts: int, hits: int) -> bytes:
    return (
        f"vllm:generation_tokens_total{LABELS} 0.0\n"
        f"vllm:prompt_tokens_total{LABELS} {prompts}.0\n"
        f"vllm:gpu_prefix_cache_hits_total{LABELS} {hits}.0\n"
    ).encode()


class TestOutcomes:
    @pytest.mark.parametrize("reason", ["abort", "error", "repetition"])
    def test_effective(self, reason: str) -> None:
        """After a request that did not end by stop or length, vLLM cannot separate effective output."""
        page = changed(AFTER, f"vllm:request_success_total{success(reason)}", "1.0")

        assert read(AFTER).effective_output_tokens is not None
        assert read(page).effective_output_tokens is None

    def test_failure_is_told_twice(self) -> None:
        """A request that fails in the engine is answered with HTTP 500: one error, not two."""
        failed = changed(AFTER, f"vllm:request_success_total{success('error')}", "3.0")
        http = b'http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"} 3.0\n'

        assert 4 + 3 == read(failed).requests_error
        assert 4 + 3 == read(failed + http).requests_error

    def test_other_handlers(self) -> None:
        """Only requests for work count: not a browser that looks for an icon, nor a health probe."""
        other = (
            b'http_requests_total{handler="none",method="GET",status="4xx"} 99.0\n'
            b'http_requests_total{handler="/v1/models",method="POST",status="4xx"} 99.0\n'
            b'http_requests_total{handler="/v1/chat/completions",method="GET",status="4xx"} 99.0\n'
        )

        assert 4 == read(AFTER + other).requests_error

    def test_unknown(self) -> None:
        """A page without outcomes leaves them out, instead of saying 0."""
        counts = read(old_page(5, 0))

        assert (None, None, None) == (counts.requests_ok, counts.requests_aborted, counts.requests_error)
        assert counts.effective_output_tokens is None


class TestLabels:
    def test_ranks_add_up(self) -> None:
        """The ranks of a data-parallel engine are one engine."""
        rank = AFTER.replace(b'engine="0"', b'engine="1"')
        counts = read(AFTER + rank)

        assert (2 * 4585, 2 * 64, 2 * 6) == (
            counts.output_tokens,
            counts.requests_ok,
            counts.requests_aborted,
        )
        assert 14 == read(LOAD_4 + LOAD_4.replace(b'engine="0"', b'engine="1"')).requests_running

    def test_pid(self) -> None:
        """Servers of several processes show one gauge several times: it counts once."""
        gauge = 'vllm:num_requests_running{engine="0",model_name="tiny-llama",pid="%d"} 7.0\n'
        page = without(LOAD_4, "vllm:num_requests_running") + (gauge % 10 + gauge % 11).encode()

        assert 7 == read(page).requests_running

    def test_gauges_absent_before_first_request(self) -> None:
        """Servers of several processes show no gauge until it was set, and no process start."""
        page = without(IDLE, "vllm:num_requests_running", "process_start_time_seconds")
        counts = read(page)

        assert (None, None) == (counts.requests_running, counts.process_start_unix_seconds)
        assert 0 == counts.requests_aborted

    def test_histogram_named_total(self) -> None:
        """`vllm:iteration_tokens_total` is a histogram: nothing of it is read."""
        assert not any("iteration_tokens" in name for name in VLLM.families())

    def test_several_models(self) -> None:
        """A page with two models is refused until one is named, and then only that one counts."""
        both = AFTER + WARM.replace(b"tiny-llama", b"other")
        with pytest.raises(EngineFailure) as failure:
            read(both)

        assert "several_models" == failure.value.reason
        assert 189 == Engine(VLLM, "other").read(both).output_tokens
        assert 4585 == Engine(VLLM, "tiny-llama").read(both).output_tokens

    def test_own_name(self) -> None:
        """A configured model names the one on the page."""
        assert "chat-model" == Engine(VLLM, "chat-model").read(AFTER).model

    def test_repeated_series(self) -> None:
        """A series that is there twice counts once."""
        assert 4585 == read(AFTER + AFTER).output_tokens


class TestBadValues:
    @pytest.mark.parametrize("value", ["NaN", "-1.0", "+Inf"])
    @pytest.mark.parametrize("name", ["vllm:generation_tokens_total", "vllm:prompt_tokens_total"])
    def test_tokens(self, name: str, value: str) -> None:
        """Tokens that are no count refuse the page: joules wait for one that can be believed."""
        with pytest.raises(EngineFailure) as failure:
            read(changed(AFTER, name, value))

        assert "bad_value" == failure.value.reason

    @pytest.mark.parametrize("value", ["NaN", "-1.0", "+Inf"])
    def test_others(self, value: str) -> None:
        """Any other number that is no count is absent, and the tokens stand."""
        counts = read(changed(AFTER, "vllm:num_requests_running", value))

        assert counts.requests_running is None
        assert 4585 == counts.output_tokens

    def test_no_stats(self) -> None:
        """With --disable-log-stats the page has no tokens."""
        page = b"".join(line + b"\n" for line in AFTER.splitlines() if not line.startswith(b"vllm:"))
        with pytest.raises(EngineFailure) as failure:
            read(page)

        assert "no_family" == failure.value.reason
