"""What is read from llama-server's pages: the recorded run, and numbers of six digits."""

import json

from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import ENGINE_PAGES, Engine, engine_page, kind_named

from perwatt_agent.facts.engine_counts import EngineCounts

IDLE, LOAD, AFTER, ABOVE_1E6 = (
    engine_page(f"llamacpp-{stage}") for stage in ("1-idle", "2-underload-1", "3-after", "4-above-1e6")
)
LLAMACPP = kind_named("llamacpp")
# What the server had generated for a first client, before the recorded one came.
EARLIER_OUTPUT_TOKENS = 1982


def read(*pages: bytes) -> EngineCounts:
    engine = Engine(LLAMACPP, model="tiny")
    return [engine.read(page) for page in pages][-1]


def printed(tokens: int) -> str:
    """A count as llama-server prints it."""
    return f"{tokens:g}"


def page(tokens: int) -> str:
    return f"llamacpp:tokens_predicted_total {printed(tokens)}\n"


class TestRecordedRun:
    def test_after(self) -> None:
        """Every count equals that on the page; a count that the page lacks is absent."""
        expected = EngineCounts(
            model="tiny",
            output_tokens=67860,
            prompt_computed_tokens=7487,
            prompt_cached_tokens=49093,
            requests_running=0,
            requests_waiting=0,
            wasted_tokens={"draft_rejected": 0},
        )

        assert expected == read(IDLE, LOAD, AFTER)

    def test_client(self) -> None:
        """Output is the client's within 0.1 %: aborted requests went on for a few tokens unseen."""
        truth = json.loads((ENGINE_PAGES / "llamacpp-client-truth.json").read_text())
        received = truth["completion_tokens"] + truth["aborted_chunks"]
        generated = read(AFTER).output_tokens - EARLIER_OUTPUT_TOKENS

        assert received <= generated <= received * 1.001

    def test_cached_is_outside(self) -> None:
        """The prompt counter leaves cached tokens out: they are not taken off again."""
        assert (7487, 49093) == (read(AFTER).prompt_computed_tokens, read(AFTER).prompt_cached_tokens)

    def test_queue(self) -> None:
        """Under load requests run and wait."""
        assert (4, 1) == (read(LOAD).requests_running, read(LOAD).requests_waiting)

    def test_high_water_mark(self) -> None:
        """`n_tokens_max` calls itself a counter and is none: it is not read."""
        assert "llamacpp:n_tokens_max" not in LLAMACPP.families()

    def test_moves_at_the_end(self) -> None:
        """In the row, counts move when a request ends."""
        assert "request_end" == LLAMACPP.counts_at


class TestSixDigits:
    def test_recorded(self) -> None:
        """Above a million the page is rounded: 1061390 stands for any count within 5 of it."""
        assert 1_061_390 == read(AFTER, ABOVE_1E6).prompt_computed_tokens

    @given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=30))
    def test_never_falls_and_is_bounded(self, increases: list[int]) -> None:
        """Rounding never lets a count fall, and never is a count off by more than half its last digit."""
        engine, true, before = Engine(LLAMACPP), 1, 0.0
        for increase in increases:
            true += increase
            shown = engine.read(page(true)).output_tokens
            step = 10 ** max(0, len(str(true)) - 6)

            assert shown is not None
            assert before <= shown
            assert abs(shown - true) <= step / 2
            before = shown

    def test_restart(self) -> None:
        """A restart is a fall to few tokens, and its counts are shown as they are."""
        engine = Engine(LLAMACPP)

        assert [2e6, 5.0] == [engine.read(page(tokens)).output_tokens for tokens in (2_000_000, 5)]
