"""Ranks of an engine that disappear, return or reset: their counts are kept."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import Engine, kind_named

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.engine.rank_counters import RankCounters
from perwatt_agent.net.prometheus_text import Series


def page(tokens: Mapping[int, float | str]) -> str:
    """A page of vLLM on which each rank shows its output."""
    return "".join(
        f'vllm:generation_tokens_total{{engine="{rank}",model_name="m"}} {count}\n'
        for rank, count in tokens.items()
    )


def outputs(*pages: Mapping[int, float | str]) -> list[float | None]:
    engine = Engine(VLLM)
    return [engine.read(page(tokens)).output_tokens for tokens in pages]


class TestVanishedRank:
    def test_keeps_its_value(self) -> None:
        """The counts of a rank that disappeared are kept, and continue when it returns."""
        assert [300, 310, 330] == outputs({0: 100, 1: 200}, {0: 110}, {0: 120, 1: 210})

    def test_starts_anew(self) -> None:
        """A rank that resets adds to its previous count; the engine did not restart."""
        assert [300, 315, 325] == outputs({0: 100, 1: 200}, {0: 110, 1: 5}, {0: 110, 1: 15})

    def test_gone_and_anew(self) -> None:
        """It may have been gone meanwhile."""
        assert [300, 310, 315] == outputs({0: 100, 1: 200}, {0: 110}, {0: 110, 1: 5})

    def test_until_the_engine_restarts(self) -> None:
        """If no rank continues from its previous count, the engine restarted, with counts of its own."""
        assert [300, 300, 8] == outputs({0: 100, 1: 200}, {0: 100}, {0: 3, 1: 5})

    def test_replaced(self) -> None:
        """Ranks that are all replaced by others are another engine."""
        assert [300, 7] == outputs({0: 100, 1: 200}, {2: 7})

    def test_single_rank(self) -> None:
        """An engine of one rank restarts when its count falls."""
        assert [100, 3] == outputs({0: 100}, {0: 3})

    def test_ray_replicas(self) -> None:
        """Replicas of Ray Serve come and go; their tokens stay."""
        engine = Engine(kind_named("ray"))
        sample = 'ray_vllm_generation_tokens_total{{model_name="m",ReplicaId="{}",WorkerId="w"}} {}\n'
        pages = (sample.format("a", 100) + sample.format("b", 50), sample.format("b", 60))

        assert [150, 160] == [engine.read(text).output_tokens for text in pages]

    def test_another_model(self) -> None:
        """Another model on the page is another engine."""
        engine = Engine(VLLM)
        engine.read(page({0: 100}))

        assert 120 == engine.read(page({1: 120}).replace('"m"', '"n"')).output_tokens

    @pytest.mark.parametrize("bad", ["NaN", "-1", "+Inf"])
    def test_bad_value(self, bad: str) -> None:
        """An invalid count rejects the page, and the next valid page continues from the last one."""
        engine = Engine(VLLM)
        engine.read(page({0: 100, 1: 200}))
        with pytest.raises(EngineFailure):
            engine.read(page({0: 110, 1: bad}))

        assert 320 == engine.read(page({0: 110, 1: 210})).output_tokens

    @given(st.lists(st.dictionaries(st.integers(0, 3), st.integers(0, 50)), max_size=15))
    def test_any_schedule(self, rounds: list[dict[int, int]]) -> None:
        """However ranks come, go and restart beside one that lives on, the sum is all that was counted."""
        engine, counters, lasting, whole = Engine(VLLM), dict[int, int](), 1, 1
        for made in rounds:
            lasting, whole = lasting + 1, whole + 1
            # Those that are absent are gone; one that comes back has its count or begins anew.
            for rank, tokens in made.items():
                anew = tokens < counters.get(rank, 0)
                whole += tokens if anew else tokens - counters.get(rank, 0)
                counters[rank] = tokens
            shown = engine.read(page({9: lasting, **made})).output_tokens

            assert whole == shown


class TestBound:
    def test_folded(self) -> None:
        """However many ranks come and go, what is kept is bounded, and nothing is lost."""
        memory = RankCounters(VLLM, max_gone=10)
        name = "vllm:generation_tokens_total"
        lasting = Series(name, (("engine", "last"),))
        for rank in range(200):
            whole = memory.complete({lasting: 1.0, Series(name, (("engine", str(rank)),)): 2.0})

        assert 1 + 2 * 200 == sum(whole.values())
        assert len(whole) <= 10 + 3
