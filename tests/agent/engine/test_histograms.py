"""Histograms of engines: the recorded ones to the last request, ranks that add up, and those refused."""

import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import ENGINE_PAGES, Engine, engine_page, kind_named, like_vllm_0_9, without

from perwatt_agent.engine.histograms import MAX_BUCKETS, BadHistogram, histogram_of
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.engine_counts import Histogram
from perwatt_agent.net.prometheus_text import Series

VLLM_PAGES = [engine_page(f"vllm-0.32.0-{stage}") for stage in ("1-idle", "2-warm", "4-after")]
SGLANG_AFTER = engine_page("sglang-0.5.23-3-after")


def truth(name: str) -> dict[str, float]:
    return json.loads((ENGINE_PAGES / f"{name}.json").read_text())  # type: ignore[no-any-return]


def page(ranks: Mapping[str, Mapping[str, float | str]], total: float | str = 1.5) -> str:
    """A page of vLLM whose ranks show these counts by bound."""
    lines = [f'vllm:generation_tokens_total{{engine="{rank}"}} 100' for rank in ranks]
    for rank, buckets in ranks.items():
        lines += [
            f'vllm:time_to_first_token_seconds_bucket{{engine="{rank}",le="{le}"}} {count}'
            for le, count in buckets.items()
        ]
        lines.append(f'vllm:time_to_first_token_seconds_sum{{engine="{rank}"}} {total}')
    return "\n".join(lines) + "\n"


class TestRecorded:
    def test_vllm(self) -> None:
        """Buckets are the page's own, and every request of the client is in them."""
        engine = Engine(VLLM)
        for text in VLLM_PAGES:
            counts = engine.read(text)
        warm, after = truth("vllm-0.32.0-2-warm-client-truth"), truth("vllm-0.32.0-4-after-client-truth")
        first, each, between = (
            counts.time_to_first_token,
            counts.time_per_output_token,
            counts.inter_token_latency,
        )

        assert first is not None
        assert each is not None
        assert between is not None
        assert warm["requests"] + after["requests"] == each.count == 64
        assert after["aborted"] == first.count - each.count == 6
        assert counts.output_tokens == first.count + between.count
        assert (22, 5.593264818191528) == (len(first.bounds), first.sum)
        assert [57, 64, 69] == [first.at_most[first.bounds.index(bound)] for bound in (0.1, 0.25, 0.5)]
        assert [15, 41, 59] == [each.at_most[each.bounds.index(bound)] for bound in (0.01, 0.025, 0.05)]

    def test_sglang(self) -> None:
        """Requests that stream and those that do not are one histogram: the client's and the warm-up."""
        counts = Engine(kind_named("sglang")).read(SGLANG_AFTER)
        runs = [truth("sglang-0.5.23-client-truth-warm"), truth("sglang-0.5.23-client-truth")]
        first, each = counts.time_to_first_token, counts.time_per_output_token

        assert first is not None
        assert each is not None
        assert sum(run["requests"] for run in runs) + 1 == first.count == each.count == 35
        assert (8, 20, 23) == first.at_most[:3]
        assert 8.280994602696865 + 10.229289538999183 == pytest.approx(first.sum)

    def test_vllm_0_9(self) -> None:
        """What vLLM 0.9 calls the time per output token is observed once a token, and shown as that."""
        old = like_vllm_0_9(VLLM_PAGES[-1])
        old = without(
            old, *(f"vllm:request_time_per_output_token_seconds{end}" for end in ("_bucket", "_sum"))
        )
        old = old.replace(b"vllm:inter_token_latency_seconds", b"vllm:time_per_output_token_seconds")
        counts = Engine(VLLM).read(old)

        assert counts.time_per_output_token is None
        assert counts.inter_token_latency is not None
        assert 4515 == counts.inter_token_latency.count

    def test_none(self) -> None:
        """llama.cpp has no histogram, and none is shown."""
        counts = Engine(kind_named("llamacpp"), "tiny").read(engine_page("llamacpp-3-after"))

        assert (
            counts.time_to_first_token is counts.time_per_output_token is counts.inter_token_latency is None
        )


class TestRoles:
    @pytest.mark.parametrize(("role", "shown"), [("prefill", (False, False)), ("decode", (False, True))])
    def test_disaggregated(self, role: str, shown: tuple[bool, bool]) -> None:
        """A prefill worker's request is not the client's, and a decoding one did not make its first token."""
        counts = Engine(VLLM, role=role).read(VLLM_PAGES[-1])  # type: ignore[arg-type]

        assert shown == (counts.time_to_first_token is not None, counts.time_per_output_token is not None)


class TestRanks:
    def test_add_up(self) -> None:
        """Data-parallel ranks are one histogram, and bounds are numbers, however they are written."""
        counts = Engine(VLLM).read(
            page({"0": {"0.1": 1, "1": 2, "+Inf": 3}, "1": {"1e-1": 10, "1.0": 20, "inf": 30}})
        )

        assert Histogram((0.1, 1.0), (11, 22), 33, 3.0) == counts.time_to_first_token

    def test_vanished(self) -> None:
        """A rank that vanishes keeps its counts, as it keeps its tokens."""
        engine = Engine(VLLM)
        engine.read(page({"0": {"1": 2, "+Inf": 3}, "1": {"1": 20, "+Inf": 30}}))
        counts = engine.read(page({"0": {"1": 3, "+Inf": 5}}))

        assert Histogram((1.0,), (23,), 35, 3.0) == counts.time_to_first_token


HOSTILE: dict[str, str] = {
    "falls": page({"0": {"0.1": 5, "1": 4, "+Inf": 6}}),
    "NaN": page({"0": {"0.1": "NaN", "+Inf": 6}}),
    "negative": page({"0": {"0.1": -1, "+Inf": 6}}),
    "infinite": page({"0": {"0.1": 1, "+Inf": "+Inf"}}),
    "no last bucket": page({"0": {"0.1": 5, "1": 6}}),
    "a bound that is none": page({"0": {"soon": 5, "+Inf": 6}}),
    "a bound twice": page({"0": {"1": 5, "1.0": 5, "+Inf": 6}}),
    "other bounds": page({"0": {"0.1": 5, "+Inf": 6}, "1": {"0.2": 5, "+Inf": 6}}),
    "thousands": page({"0": {**{str(n): 1 for n in range(MAX_BUCKETS)}, "+Inf": 1}}),
    "bad sum": page({"0": {"0.1": 5, "+Inf": 6}}, "NaN"),
    "negative sum": page({"0": {"0.1": 5, "+Inf": 6}}, -1),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE.items()])
def test_hostile(text: str) -> None:
    """What is no histogram is left out with its reason; the tokens of the page stand."""
    engine = Engine(VLLM)
    counts = engine.read(text)

    assert counts.time_to_first_token is None
    assert counts.output_tokens in (100, 200)
    (fault,) = engine.faults
    assert fault.startswith("vllm:time_to_first_token_seconds is left out: ")


def test_no_sum() -> None:
    """A histogram without a sum is none."""
    with pytest.raises(BadHistogram):
        histogram_of("h", [(Series("h_bucket", (("le", "+Inf"),)), 1.0)], ())


@given(
    st.lists(
        st.tuples(st.sampled_from(("0.1", "1", "+Inf", "x", "-Inf", "NaN")), st.floats(), st.booleans()),
        min_size=1,
    )
)
def test_what_is_shown_is_a_histogram(samples: list[tuple[str, float, bool]]) -> None:
    """Whatever a page shows, what is made of it has ascending finite bounds and counts that never fall."""
    buckets = [
        (Series("h_bucket", (("engine", str(rank)), ("le", le))), count) for le, count, rank in samples
    ]
    try:
        found = histogram_of("h", buckets, [(Series("h_sum"), 1.0)])
    except BadHistogram:
        return

    assert sorted(found.bounds) == list(found.bounds)
    assert all(map(math.isfinite, found.bounds))
    counts = (0.0, *found.at_most, found.count)
    assert sorted(counts) == list(counts)
