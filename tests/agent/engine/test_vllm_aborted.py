"""Aborted requests, which vLLM does not count: taken from its other counts, never more than there were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import Engine, changed, without
from support.engines.vllm_pages import AFTER, IDLE, LABELS, read, success

from perwatt_agent.engine.kinds.vllm import VLLM


def requests_page(
    first_tokens: int, finished: int, running: int, waiting: int = 0, preemptions: int = 0
) -> bytes:
    return (
        f"vllm:generation_tokens_total{LABELS} 0.0\n"
        f"vllm:time_to_first_token_seconds_count{LABELS} {first_tokens}.0\n"
        f"vllm:e2e_request_latency_seconds_count{LABELS} {finished}.0\n"
        f"vllm:num_requests_running{LABELS} {running}.0\n"
        f"vllm:num_requests_waiting{LABELS} {waiting}.0\n"
        f"vllm:num_preemptions_total{LABELS} {preemptions}.0\n"
    ).encode()


class Requests:
    """The truth behind vLLM's request counters: which request is in which state."""

    def __init__(self) -> None:
        self.prefilling = self.decoding = self.preempted = 0
        self.first_tokens = self.finished = self.aborted = self.preemptions = 0

    def happens(self, event: str) -> None:
        if event == "start":
            self.prefilling += 1
        elif event == "first" and self.prefilling:
            self.prefilling, self.decoding, self.first_tokens = (
                self.prefilling - 1,
                self.decoding + 1,
                self.first_tokens + 1,
            )
        elif event == "finish" and self.decoding:
            self.decoding, self.finished = self.decoding - 1, self.finished + 1
        elif event == "abort" and self.decoding:
            self.decoding, self.aborted = self.decoding - 1, self.aborted + 1
        elif event == "preempt" and self.decoding:
            self.decoding, self.preempted = self.decoding - 1, self.preempted + 1
            self.preemptions += 1
        elif event == "resume" and self.preempted:
            self.preempted, self.decoding = self.preempted - 1, self.decoding + 1

    def page(self) -> bytes:
        running = self.prefilling + self.decoding
        return requests_page(self.first_tokens, self.finished, running, self.preempted, self.preemptions)


class TestAborted:
    def test_prefill(self) -> None:
        """Requests that run without a first token make the difference dip; the count does not."""
        pages = [requests_page(10, 4, 3), requests_page(10, 4, 6), requests_page(10, 4, 8)]
        endpoint = Engine(VLLM)

        assert [3, 3, 3] == [endpoint.read(page).requests_aborted for page in pages]

    def test_never_negative(self) -> None:
        """Requests that have no first token yet are no negative aborts."""
        assert 0 == read(requests_page(0, 0, 5)).requests_aborted

    def test_preempted(self) -> None:
        """A request that was preempted waits with its first token behind it: that is no abort."""
        assert 0 == read(requests_page(10, 4, 4, waiting=2, preemptions=2)).requests_aborted
        assert 2 == read(requests_page(10, 4, 4, waiting=2, preemptions=0)).requests_aborted

    @pytest.mark.slow
    @given(st.lists(st.sampled_from(["start", "first", "finish", "abort", "preempt", "resume"]), max_size=60))
    def test_any_schedule(self, events: list[str]) -> None:
        """However requests come and go, the count never falls nor exceeds the truth, and meets it at rest."""
        engine, endpoint, before = Requests(), Engine(VLLM), 0.0
        for event in [*events, *["resume", "first", "finish"] * len(events)]:
            engine.happens(event)
            aborted = endpoint.read(engine.page()).requests_aborted

            assert before <= aborted <= engine.aborted
            before = aborted

        assert engine.aborted == before

    def test_restart(self) -> None:
        """A restarted engine has no aborts, whether its start time or its counters show the restart."""
        restarted = changed(IDLE, "process_start_time_seconds", "1.7952799e+09")
        silent = without(IDLE, "process_start_time_seconds")

        assert 0 == read(AFTER, restarted).requests_aborted
        assert 0 == read(AFTER, silent).requests_aborted
        assert 6 == read(AFTER, AFTER).requests_aborted

    def test_counted_by_the_engine(self) -> None:
        """An abort that a later version counts itself is added once."""
        page = changed(AFTER, f"vllm:request_success_total{success('abort')}", "2.0")
        page = changed(page, f"vllm:e2e_request_latency_seconds_count{LABELS}", "66.0")

        assert 6 == read(page).requests_aborted
