"""Latency objectives: intervals that contain the true number, and what is not known."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import Engine, engine_page
from support.fleet.agents import Gpu, Machine, Workload, job, serving_machine
from support.fleet.fleets import Followed
from support.servers.asgi import ask

from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.engine_counts import Histogram
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.readings.objectives import SloConfig, bounds_around
from perwatt_aggregator.readings.sample import BUCKETS
from perwatt_aggregator.schema.efficiency import LatencyBounds, LatencyMet, Slo
from perwatt_aggregator.window.slo import met_both
from perwatt_aggregator.window.window import Met

ASKED = SloConfig(time_to_first_token=0.2, time_per_output_token=0.05)
NOTHING = Histogram((0.1, 0.25), (0, 0), 0, 0.0)


def histogram(*counts: float) -> Histogram:
    """Counts at most 0.1, at most 0.25, and in all."""
    return Histogram((0.1, 0.25), counts[:2], counts[2], 1.0)


def served(*workloads: Workload, asked: Sequence[SloConfig] = (ASKED,)) -> Followed:
    """A minute at the end of which each workload has the histograms that it was given, from nothing."""
    machine = Machine([Gpu(f"GPU-{index}") for index in range(len(workloads))], list(workloads))
    for index, workload in enumerate(workloads):
        workload.take(f"GPU-{index}", active=1.0)
    final = [(workload.first_token, workload.output_token) for workload in workloads]
    for workload in workloads:
        workload.first_token = _emptied(workload.first_token)
        workload.output_token = _emptied(workload.output_token)
    fleet = Followed([machine], slo=asked)
    fleet.look()
    for workload, (first, each) in zip(workloads, final, strict=True):
        workload.first_token, workload.output_token = first, each
    fleet.run(60.0)
    return fleet


def _emptied(full: Histogram | None) -> Histogram | None:
    return full and Histogram(full.bounds, (0.0,) * len(full.bounds), 0.0, 0.0)


class TestEdges:
    @pytest.mark.parametrize(
        ("expected", "objective"),
        [((0.1, 0.25), 0.2), ((0.25, 0.25), 0.25), ((None, 0.1), 0.05), ((0.25, math.inf), 7.0)],
    )
    def test_next_to(self, expected: tuple[float | None, float], objective: float) -> None:
        """An objective on a bound is exact; any other lies between two."""
        assert expected == bounds_around((0.1, 0.25, math.inf), objective)

    def test_no_bound(self) -> None:
        """Without a bucket of all there may be no bound above."""
        assert (0.1, None) == bounds_around((0.1,), 0.2)


class TestBoth:
    def test_frechet(self) -> None:
        """Of 10 requests of which 8 met one and 7 the other, 5 to 7 met both."""
        assert Met(10, 5, 7) == met_both(Met(10, 8, 8), Met(10, 7, 7), 0.0)

    def test_nobody_says_what_runs(self) -> None:
        """If running requests are not known, all of them may have had their first token before."""
        assert Met(10, 0, 7) == met_both(Met(10, 8, 8), Met(10, 7, 7), None)

    def test_more_ended_than_began(self) -> None:
        """If more requests ended than began, some were running before, whatever the gauge's value."""
        assert Met(10, 3, 8) == met_both(Met(6, 5, 5), Met(10, 8, 8), 0.0)

    @given(
        st.lists(
            st.tuples(st.sampled_from(("before", "within")), st.booleans(), st.booleans(), st.booleans())
        ),
        st.integers(0, 3),
        st.integers(0, 3),
        st.integers(0, 3),
    )
    def test_holds_the_truth(
        self, requests: list[tuple[str, bool, bool, bool]], spare: int, low: int, high: int
    ) -> None:
        """
        Whichever requests began before the window or end after it, and however coarse the buckets: the
        ended ones that met both objectives are within.
        """
        began = [(first, each) for begun, _, first, each in requests if begun == "within"]
        ended = [(first, each) for _, ends, first, each in requests if ends]
        before = sum(begun == "before" for begun, *_ in requests)
        first = _coarse(len(began), sum(first for first, _ in began), low, high)
        each = _coarse(len(ended), sum(each for _, each in ended), high, low)
        truth = sum(first and each for first, each in ended)

        met = met_both(first, each, float(before + spare))
        assert 0.0 <= met.at_least <= truth <= met.at_most <= met.requests == len(ended)
        assert met_both(first, each, None).at_most >= truth


def _coarse(requests: int, met: int, low: int, high: int) -> Met:
    return Met(requests, max(0, met - low), min(requests, met + high))


class TestAnswer:
    def test_real_pages(self) -> None:
        """
        A recorded run of vLLM: its buckets say 57 to 64 of 70 first tokens within 200 ms, and of the 64
        requests that ended exactly 59 within 50 ms a token. 6 aborted ones had a first token and no end.
        """
        counts = Engine(VLLM).read(engine_page("vllm-0.32.0-4-after"))
        chat = Workload("chat", first_token=counts.time_to_first_token, running=0.0)
        chat.output_token = counts.time_per_output_token

        assert (
            Slo(
                requests=64,
                at_least=59 - (70 - 57),
                at_most=59,
                share_at_least=46 / 64,
                share_at_most=59 / 64,
                time_to_first_token=LatencyMet(70, 57, 64, (LatencyBounds(0.2, 0.1, 0.25),)),
                time_per_output_token=LatencyMet(64, 59, 59, (LatencyBounds(0.05, 0.05, 0.05),)),
            )
            == served(chat).item().slo
        )

    async def test_over_http(self) -> None:
        """The answer as a client gets it, beside the headline and with its reasons in the one list."""
        chat = Workload(
            "chat", first_token=histogram(5, 8, 10), output_token=histogram(9, 9, 10), running=1.0
        )
        app = create_app(served(chat).aggregator)
        (item,) = (await ask(app, "/v1/efficiency?boundary=gpu_board")).json()["items"]

        assert {
            "requests": 10,
            "at_least": 0,
            "at_most": 9,
            "share_at_least": 0.0,
            "share_at_most": 0.9,
            "time_to_first_token": {
                "requests": 10,
                "at_least": 5,
                "at_most": 8,
                "bounds": [{"objective_seconds": 0.2, "lower_seconds": 0.1, "upper_seconds": 0.25}],
            },
            "time_per_output_token": {
                "requests": 10,
                "at_least": 0,
                "at_most": 9,
                "bounds": [{"objective_seconds": 0.05, "lower_seconds": 0.0, "upper_seconds": 0.1}],
            },
        } == item["slo"]
        assert "output_tokens" == item["headline"]["unit"]

    def test_several_engines(self) -> None:
        """Intervals add up, each engine against its own buckets and its model's objectives."""
        asked = (SloConfig("a", time_to_first_token=0.25), SloConfig(time_to_first_token=5.0))
        one = Workload("one", "a", first_token=histogram(5, 8, 10))
        other = Workload("other", "b", first_token=histogram(1, 2, 4))
        fleet = served(one, other, asked=asked)
        slo = fleet.item().slo

        assert slo is not None
        assert (14, 10, 12) == (slo.requests, slo.at_least, slo.at_most)
        assert slo.time_to_first_token is not None
        assert (LatencyBounds(0.25, 0.25, 0.25), LatencyBounds(5.0, 0.25, None)) == (
            slo.time_to_first_token.bounds
        )
        assert [(10, 8, 8), (4, 2, 4)] == [
            (item.slo.requests, item.slo.at_least, item.slo.at_most)
            for item in fleet.items("model")
            if item.slo
        ]

    def test_below_all_bounds(self) -> None:
        """Below the first bound nothing is certain but what is above it."""
        slo = (
            served(
                Workload("chat", first_token=histogram(5, 8, 10)),
                asked=(SloConfig(time_to_first_token=0.05),),
            )
            .item()
            .slo
        )

        assert slo is not None
        assert (0, 5) == (slo.at_least, slo.at_most)

    def test_no_histogram(self) -> None:
        """A histogram that an engine lacks gives null with a reason; the others and the figure stay valid."""
        item = served(Workload("chat", first_token=histogram(5, 8, 10))).item()

        assert item.slo is not None
        assert (None, None, None) == (
            item.slo.at_least,
            item.slo.share_at_most,
            item.slo.time_per_output_token,
        )
        assert LatencyMet(10, 5, 8, (LatencyBounds(0.2, 0.1, 0.25),)) == item.slo.time_to_first_token
        assert "no_latency_histogram" in item.reasons
        assert item.valid

    def test_one_of_several_does_not_tell(self) -> None:
        """A sum that silently lacks an engine is another quantity."""
        asked = (SloConfig(time_to_first_token=0.25),)
        fleet = served(Workload("a", first_token=histogram(5, 8, 10)), Workload("b"), asked=asked)

        assert [8, None] == [item.slo and item.slo.at_least for item in fleet.items("workload")]
        assert fleet.item().slo == Slo(None, None, None, None, None, None, None)

    def test_nothing_is_asked(self) -> None:
        """Without an objective for its model, and of a job, nothing is told and no reason given."""
        other = served(Workload("chat"), asked=(SloConfig("gpt", time_to_first_token=1.0),)).item()
        train = served(job("GPU-0")).item()

        assert other.slo is train.slo is None
        assert "no_latency_histogram" not in other.reasons + train.reasons

    def test_no_requests(self) -> None:
        """Of no request no share can be had."""
        slo = served(Workload("chat", first_token=NOTHING, output_token=NOTHING)).item().slo

        assert slo is not None
        assert (0, 0, 0, None, None) == (
            slo.requests,
            slo.at_least,
            slo.at_most,
            slo.share_at_least,
            slo.share_at_most,
        )

    def test_other_buckets(self) -> None:
        """While the window still holds a life of the engine with other buckets, nothing is told."""
        chat = Workload("chat", first_token=histogram(5, 8, 10))
        fleet = served(chat, asked=(SloConfig(time_to_first_token=0.2),))
        chat.first_token = Histogram((0.15, 0.3), (1, 2), 12, 3.0)
        fleet.run(10.0)

        assert fleet.item().slo == Slo(None, None, None, None, None, None, None)
        assert "no_latency_histogram" in fleet.item().reasons

        fleet.run(60.0)
        assert fleet.item().slo is not None
        assert 0 == fleet.item().slo.at_least  # type: ignore[union-attr]


class TestKept:
    def test_only_what_is_needed(self) -> None:
        """Of any number of buckets at most three are kept, and none where nothing is asked."""
        counts = Engine(VLLM).read(engine_page("vllm-0.32.0-4-after"))
        chat = Workload("chat", first_token=counts.time_to_first_token)
        chat.output_token = counts.time_per_output_token
        kept = {
            asked: sorted(
                counter.part for counter in fleet.aggregator.nodes[0].ring.columns if counter.name in BUCKETS
            )
            for asked in ((ASKED,), ())
            for fleet in [served(chat, asked=asked)]
        }

        assert ["+Inf", "+Inf", "0.05", "0.1", "0.25"] == kept[(ASKED,)]
        assert [] == kept[()]


class TestWasted:
    def test_by_cause(self) -> None:
        """Wasted tokens of the window by cause; a cause that an engine does not tell is null."""
        chat = Workload("chat", wasted={"aborted": 10, "draft_rejected": 5})
        chat.take("GPU-0", active=1.0)
        fleet = Followed([Machine([Gpu("GPU-0")], [chat])])
        fleet.look()
        chat.wasted = {"aborted": 40, "draft_rejected": 5}
        fleet.run(60.0)
        wasted = fleet.item().tokens.wasted
        (listed,) = fleet.aggregator.workload_answer(60.0).items

        assert (30, None, None, 0) == (wasted.aborted, wasted.error, wasted.recomputed, wasted.draft_rejected)
        assert wasted == listed.tokens.wasted

    def test_not_told_at_an_edge(self) -> None:
        """What is told only while nothing runs is null where a window ends in between."""
        chat = Workload("chat", wasted={"aborted": 10})
        chat.take("GPU-0", active=1.0)
        fleet = Followed([Machine([Gpu("GPU-0")], [chat])])
        fleet.look()
        fleet.run(30.0)
        chat.wasted = {}
        fleet.run(30.0)

        assert fleet.item().tokens.wasted.aborted is None

    def test_not_all_tell(self) -> None:
        """One engine that does not tell makes the sum unknown."""
        machine = serving_machine(gpus=2, workloads=2)
        machine.workloads[0].wasted = {"draft_rejected": 5}
        fleet = Followed([machine])
        fleet.look()
        fleet.run(60.0)

        assert fleet.item().tokens.wasted.draft_rejected is None
