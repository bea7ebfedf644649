"""Replicas on one page, told apart by labels that no row names: each counts, and none hides another."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines.engine_pages import Engine, engine_page, kind_named, page_server, without

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.engine_counts import EngineCounts

PAGES = {
    "vllm": engine_page("vllm-0.32.0-4-after"),
    "sglang": engine_page("sglang-0.5.23-2-underload-4"),
    "llamacpp": engine_page("llamacpp-3-after"),
    "ray": engine_page("vllm-0.32.0-4-after").replace(b"vllm:", b"ray_vllm_"),
    "trtllm": b'trtllm_generation_tokens_total{model_name="m"} 700\ntrtllm_num_requests_running 5\n',
    "lmdeploy": b"lmdeploy:generation_tokens_total 9\nlmdeploy:num_requests_running 2\n",
    "tgi": b"tgi_request_generated_tokens_sum 51\ntgi_batch_current_size 4\ntgi_queue_size 2\n",
    "tei": b"te_batch_next_tokens_sum 2200\nte_queue_size 4\n",
    "triton": b'nv_inference_request_success{model="resnet",version="1"} 90\n',
    "dynamo": b"dynamo_frontend_output_sequence_tokens_sum 60\ndynamo_frontend_inflight_requests 3\n",
}
SCHEMES = (("instance",), ("stage", "replica"), ("namespace", "pod"), ("version",))
RUNNING = "vllm:num_requests_running"


def labelled(page: bytes, labels: tuple[str, ...], value: int) -> bytes:
    """Return *page* with *labels* on every sample, in place of vLLM's own label `engine`."""
    page = re.sub(rb'engine="\d+",?', b"", page).replace(b'version="1"', b"").replace(b"{}", b"")
    text = ",".join(f'{label}="{value}"' for label in labels).encode()
    page = re.sub(rb"^(\w[\w:]*)\{", rb"\g<1>{" + text + b",", page, flags=re.MULTILINE)
    return re.sub(rb"^(\w[\w:]*) ", rb"\g<1>{" + text + b"} ", page, flags=re.MULTILINE)


def sums(counts: EngineCounts) -> tuple[float | None, ...]:
    return (
        counts.output_tokens,
        counts.prompt_computed_tokens,
        counts.prompt_cached_tokens,
        counts.requests_ok,
        counts.requests_aborted,
        counts.requests_error,
        counts.requests_running,
        counts.requests_waiting,
        counts.preemptions,
    )


@pytest.mark.parametrize(("name", "labels", "replicas"), list(product(PAGES, SCHEMES, (1, 2, 3))))
def test_matrix(name: str, labels: tuple[str, ...], replicas: int) -> None:
    """Every count and every load is the sum over the replicas; a ratio is their mean."""
    kind, page = kind_named(name), PAGES[name]
    one = Engine(kind).read(page)
    counts = Engine(kind).read(b"".join(labelled(page, labels, value) for value in range(replicas)))

    assert tuple(value and value * replicas for value in sums(one)) == pytest.approx(sums(counts))
    assert one.kv_cache_usage_ratio == counts.kv_cache_usage_ratio
    assert one.flops_per_gpu == counts.flops_per_gpu


@pytest.mark.parametrize("name", ["vllm", "sglang", "ray", "tgi", "triton"])
def test_one_replica_restarts(name: str) -> None:
    """What the others counted is not counted again, whatever label tells them apart."""
    engine, page = Engine(kind_named(name)), PAGES[name]
    started = re.sub(rb"(?m)^(process_start_time_seconds) .*$", rb"\1 1.79e+09", page)
    restarted = re.sub(rb"(?m)^((?!process_start)\w.*) \S+$", rb"\1 0", started)
    both = labelled(page, ("instance",), 0) + labelled(page, ("instance",), 1)
    before = engine.read(both)
    after = engine.read(labelled(page, ("instance",), 0) + labelled(restarted, ("instance",), 1))

    assert (before.output_tokens, before.requests_ok) == (after.output_tokens, after.requests_ok)


class TestDerived:
    def test_running(self) -> None:
        """Ten requests run on two replicas: none of them is aborted."""
        text = (
            "vllm:generation_tokens_total{{{0}}} 50\n"
            "vllm:time_to_first_token_seconds_count{{{0}}} 5\n"
            "vllm:e2e_request_latency_seconds_count{{{0}}} 0\n"
            "vllm:num_requests_running{{{0}}} 5\n"
            "vllm:num_requests_waiting{{{0}}} 0\n"
        )
        counts = Engine(VLLM).read("".join(text.format(f'stage="0",replica="{one}"') for one in (0, 1)))

        assert (10, 0) == (counts.requests_running, counts.requests_aborted)

    @pytest.mark.parametrize("running", ["", "vllm:num_requests_running 5\n"])
    def test_told_apart_otherwise(self, running: str) -> None:
        """Without the load of each replica, neither aborted requests nor their tokens are derived."""
        page = labelled(engine_page("vllm-0.32.0-3-underload-4"), ("instance",), 0)
        gauges = (RUNNING, "vllm:num_requests_waiting")
        counts = Engine(VLLM).read(
            without(page, *gauges) + running.encode() + b"vllm:num_requests_waiting 0\n"
        )

        assert (None, {}) == (counts.requests_aborted, counts.wasted_tokens)

    def test_no_number(self) -> None:
        """A load that is no number derives nothing."""
        page = re.sub(rb"(?m)^(vllm:num_requests_running.*) \S+$", rb"\1 NaN", PAGES["vllm"])

        assert None is Engine(VLLM).read(page).requests_aborted

    @given(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans()),
            min_size=1,
            max_size=4,
        )
    )
    def test_any_replicas(self, replicas: list[tuple[int, int, int, bool]]) -> None:
        """Of any replicas, with or without their load, no abort is invented."""
        page, aborts = "", 0
        for number, (finished, running, aborted, shows_load) in enumerate(replicas):
            label = f'instance="{number}"'
            aborts += aborted
            page += (
                f"vllm:generation_tokens_total{{{label}}} 1\n"
                f"vllm:time_to_first_token_seconds_count{{{label}}} {finished + running + aborted}\n"
                f"vllm:e2e_request_latency_seconds_count{{{label}}} {finished}\n"
            ) + (f"{RUNNING}{{{label}}} {running}\n" if shows_load else "")
        derived = Engine(VLLM).read(page).requests_aborted

        assert derived in (None, aborts)
        if all(shows_load for *_, shows_load in replicas):
            assert aborts == derived


class TestModels:
    """Triton's vLLM backend has `model` and `version` where vLLM has `model_name`."""

    PAGE = (
        'vllm:generation_tokens_total{model="a",version="1"} 10\n'
        'vllm:generation_tokens_total{model="a",version="2"} 5\n'
        'vllm:generation_tokens_total{model="b",version="1"} 100\n'
        'nv_inference_request_success{model="a",version="1"} 3\n'
    )

    @pytest.mark.parametrize(("model", "tokens"), [("a", 15), ("b", 100)])
    async def test_chosen(self, model: str, tokens: int) -> None:
        """Each model counts alone, all its versions together."""
        async with page_server(self.PAGE.encode()) as server:
            reader = EnginePageReader(server.url, model=model)
            counts = await reader.read()

        assert ("vllm", model, tokens) == (reader.engine, counts.model, counts.output_tokens)

    def test_not_chosen(self) -> None:
        """Two models are never added under no name."""
        with pytest.raises(EngineFailure) as failure:
            Engine(VLLM).read(self.PAGE)

        assert "several_models" == failure.value.reason

    def test_single(self) -> None:
        """A single model has its name."""
        assert "b" == Engine(VLLM).read(self.PAGE.replace('"a"', '"b"')).model


def test_priorities() -> None:
    """SGLang's queues by priority are parts of its total, which has an empty label."""
    page = PAGES["sglang"]
    total = re.findall(rb"(?m)^sglang:num_running_reqs.*\n", page)[0]
    page = page.replace(total, total.replace(b"{", b'{priority="",') + total.replace(b"{", b'{priority="1",'))

    assert Engine(kind_named("sglang")).read(PAGES["sglang"]) == Engine(kind_named("sglang")).read(page)
