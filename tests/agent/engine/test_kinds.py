"""Rows of engines: each page is recognised by its own row, and each row reads its series."""

import pytest
from support.engines.engine_pages import (
    Engine,
    all_engine_pages,
    engine_page,
    kind_named,
    page_server,
    without,
)

from perwatt_agent.engine.catalog import ENGINES, counts_at, engine_names, is_frontend
from perwatt_agent.engine.engine_page_reader import EnginePageReader
from perwatt_agent.engine.kind import EngineKind, Pick
from perwatt_agent.facts.engine_counts import EngineCounts

ROWS = [pytest.param(kind, id=kind.name) for kind in ENGINES]

TGI = """\
tgi_request_generated_tokens_sum 5100
tgi_request_generated_tokens_count 51
tgi_request_input_length_sum 9000
tgi_request_success 51
tgi_request_failure{err="validation"} 2
tgi_request_failure{err="overloaded"} 1
tgi_batch_current_size 4
tgi_queue_size 2
"""
TRTLLM = """\
trtllm_generation_tokens_total{engine_type="undefined",model_name="undefined"} 700.0
trtllm_prompt_tokens_total{engine_type="undefined",model_name="undefined"} 1000.0
trtllm_prompt_cached_tokens_total{engine_type="undefined",model_name="undefined"} 400.0
trtllm_request_success_total{engine_type="undefined",finished_reason="stop",model_name="undefined"} 8.0
trtllm_request_success_total{engine_type="undefined",finished_reason="length",model_name="undefined"} 2.0
trtllm_request_success_total{engine_type="undefined",finished_reason="cancelled",model_name="undefined"} 1.0
trtllm_request_error_total{http_code="400",model_name="undefined"} 3.0
trtllm_num_requests_running{model_name="undefined"} 5.0
trtllm_num_requests_waiting{model_name="undefined"} 6.0
trtllm_kv_cache_utilization{model_name="undefined"} 0.25
"""
TRITON = """\
nv_inference_request_success{model="resnet",version="1"} 90
nv_inference_request_success{model="resnet",version="2"} 10
nv_inference_request_failure{model="resnet",version="1",reason="BACKEND"} 3
nv_inference_count{model="resnet",version="1"} 400
"""
DYNAMO = """\
dynamo_frontend_output_sequence_tokens_sum{model="qwen"} 6043
dynamo_frontend_output_tokens_total{model="qwen"} 2801
dynamo_frontend_input_sequence_tokens_sum{model="qwen"} 4000
dynamo_frontend_cached_tokens_sum{model="qwen"} 128
dynamo_frontend_requests_total{endpoint="completions",model="qwen",request_type="unary",status="success"} 23
dynamo_frontend_requests_total{endpoint="completions",model="qwen",request_type="stream",status="success"} 23
dynamo_frontend_requests_total{endpoint="completions",model="qwen",request_type="unary",status="error"} 2
dynamo_frontend_inflight_requests{model="qwen"} 3
dynamo_frontend_queued_requests{model="qwen"} 1
"""
LMDEPLOY = """\
lmdeploy:generation_tokens_total{engine="0",model_name="m"} 500.0
lmdeploy:prompt_tokens_total{engine="0",model_name="m"} 900.0
lmdeploy:cached_tokens_total{engine="0",model_name="m"} 300.0
lmdeploy:num_requests_running{engine="0",model_name="m"} 2.0
lmdeploy:num_requests_waiting{engine="0",model_name="m"} 0.0
lmdeploy:gpu_cache_usage_perc{engine="0",model_name="m"} 0.5
lmdeploy:iteration_tokens_total_sum{engine="0",model_name="m"} 1400.0
"""
MLC = """\
completion_tokens_sum 400
prompt_tokens_sum 1000
prefill_tokens_sum 700
"""
TEI = """\
te_batch_next_tokens_sum 2200
te_batch_next_tokens_count 7
te_request_count{method="batch"} 3
te_request_success{method="batch"} 2
te_request_success{method="single"} 20
te_request_failure{err="validation"} 1
te_queue_size 4
"""
NIM = """\
generation_tokens_total{model_name="m"} 300.0
prompt_tokens_total{model_name="m"} 500.0
request_success_total{model_name="m"} 9.0
request_failure_total{model_name="m"} 1.0
num_requests_running{model_name="m"} 2.0
num_requests_waiting{model_name="m"} 1.0
gpu_cache_usage_perc{model_name="m"} 0.125
"""
VLLM_LIKE = engine_page("vllm-0.32.0-4-after")

# Pages written after the engines' own sources and documentation; recorded ones have tests of their own.
WRITTEN = {
    "tgi": (
        TGI,
        EngineCounts(
            "chosen", 5100, requests_ok=51, requests_error=3, requests_running=4, requests_waiting=2
        ),
    ),
    "trtllm": (
        TRTLLM,
        EngineCounts("chosen", 700, 600, 400, None, 10, 1, 3, 5, 6, kv_cache_usage_ratio=0.25),
    ),
    "triton": (TRITON, EngineCounts("chosen", requests_ok=100, requests_error=3)),
    "dynamo": (
        DYNAMO,
        EngineCounts(
            "chosen",
            6043,
            prompt_cached_tokens=128,
            requests_ok=46,
            requests_error=2,
            requests_running=3,
            requests_waiting=1,
        ),
    ),
    "lmdeploy": (
        LMDEPLOY,
        EngineCounts(
            "chosen",
            500,
            prompt_cached_tokens=300,
            requests_running=2,
            requests_waiting=0,
            kv_cache_usage_ratio=0.5,
        ),
    ),
    "mlc": (MLC, EngineCounts("chosen", 400, 700, 300)),
    "tei": (
        TEI,
        EngineCounts(
            "chosen", prompt_computed_tokens=2200, requests_ok=22, requests_error=1, requests_waiting=4
        ),
    ),
    "nim": (
        NIM,
        EngineCounts(
            "chosen", 300, requests_ok=9, requests_running=2, requests_waiting=1, kv_cache_usage_ratio=0.125
        ),
    ),
}


class TestRows:
    @pytest.mark.parametrize("name", WRITTEN)
    def test_written_page(self, name: str) -> None:
        """Every role of the row is read; what the engine does not report is absent."""
        page, expected = WRITTEN[name]

        assert expected == Engine(kind_named(name), model="chosen").read(page)

    @pytest.mark.parametrize("prefix", ["ray_vllm_", "ray_vllm:", "aphrodite:"])
    async def test_vllm_by_another_name(self, prefix: str) -> None:
        """Ray and Aphrodite show vLLM's families under their own prefixes: the counts are the same."""
        async with page_server(VLLM_LIKE.replace(b"vllm:", prefix.encode())) as server:
            reader = EnginePageReader(server.url, engine=prefix.rstrip(":_").partition("_")[0])
            counts = await reader.read()
            same = EnginePageReader(server.url)
            await same.read()

        assert reader.engine == same.engine
        assert (4585, 3854, 8832) == (
            counts.output_tokens,
            counts.prompt_computed_tokens,
            counts.prompt_cached_tokens,
        )
        assert (64, 6, 4503) == (counts.requests_ok, counts.requests_aborted, counts.effective_output_tokens)

    @pytest.mark.parametrize("live", [True, False])
    @pytest.mark.parametrize("prefix", ["sglang_", "ray_sglang_"])
    async def test_sglang_by_another_name(self, prefix: str, live: bool) -> None:
        """SGLang behind Ray or a collector has other names, in both of its versions, and the same counts."""
        page = engine_page("sglang-0.5.23-3-after")
        page = page if live else without(page, "sglang:realtime_tokens_total")
        async with page_server(page) as server:
            expected = await EnginePageReader(server.url).read()
            server.page = page.replace(b"sglang:", prefix.encode())
            reader = EnginePageReader(server.url)

            counts = await reader.read()
            assert expected.output_tokens == counts.output_tokens
            assert expected.prompt_cached_tokens == counts.prompt_cached_tokens
            assert ("before" in reader.engine) != live

    async def test_shown_by_another(self) -> None:
        """KServe's page is vLLM's, also where the configuration says `kserve`."""
        async with page_server(VLLM_LIKE) as server:
            reader = EnginePageReader(server.url, engine="kserve")

            assert (4585, "vllm") == ((await reader.read()).output_tokens, reader.engine)

    def test_ray_both_names(self) -> None:
        """Where Ray shows a counter with and without `_total`, it counts once."""
        text = "ray_vllm_generation_tokens 5\nray_vllm_generation_tokens_total 5\n"

        assert 5 == Engine(kind_named("ray")).read(text).output_tokens

    @pytest.mark.parametrize("prefix", ["ray_vllm_", "ray_vllm:"])
    def test_ray_labels_of_the_last(self, prefix: str) -> None:
        """Before vLLM PR 40840 all counts of a family had its last labels: 20 ends are no 20 repetitions."""
        text = (
            f"{prefix}generation_tokens_total 200\n{prefix}prompt_tokens_total 10000\n"
            f'{prefix}request_success_total{{finished_reason="repetition"}} 20\n'
            f"{prefix}request_generation_tokens_sum 200\n"
            f'{prefix}prompt_tokens_by_source_total{{source="external_kv_transfer"}} 10000\n'
            f"{prefix}prefix_cache_queries_total 10000\n{prefix}prefix_cache_hits_total 3000\n"
        )
        counts = Engine(kind_named("ray" if prefix.endswith("_") else "ray-with-colon")).read(text)

        assert (200, 7000, 3000) == (
            counts.output_tokens,
            counts.prompt_computed_tokens,
            counts.prompt_cached_tokens,
        )
        assert (None, None, None) == (
            counts.requests_ok,
            counts.requests_error,
            counts.effective_output_tokens,
        )

    def test_ray_with_reasons(self) -> None:
        """Since then each end has its own reason, and those of repetition are not ok."""
        ends = 'ray_vllm_request_success_total{finished_reason="%s"} %d\n'
        text = "ray_vllm_generation_tokens_total 5\n" + ends % ("stop", 3) + ends % ("repetition", 20)

        assert 3 == Engine(kind_named("ray")).read(text).requests_ok

    @pytest.mark.parametrize("missing", ["trtllm_prompt_cached_tokens_total", "prefill_tokens_sum"])
    def test_no_false_zero(self, missing: str) -> None:
        """A page that has only the total of its prompts shows neither computed nor cached tokens."""
        kind, page = ("trtllm", TRTLLM) if "trtllm" in missing else ("mlc", MLC)
        counts = Engine(kind_named(kind), model="m").read(without(page.encode(), missing))

        assert (None, None) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    def test_mlc_cached_lags(self) -> None:
        """MLC counts prefills at once and prompts at the end: what is cached never falls meanwhile."""
        engine = Engine(kind_named("mlc"))
        engine.read(MLC)
        counts = engine.read(MLC.replace("prefill_tokens_sum 700", "prefill_tokens_sum 900"))

        assert (900, 300) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    def test_first_request_to_come(self) -> None:
        """An engine whose counters appear with the first request answers, and has made nothing yet."""
        counts = Engine(kind_named("tgi"), model="m").read("tgi_batch_current_size 0\ntgi_queue_size 0\n")

        assert EngineCounts("m", requests_running=0, requests_waiting=0) == counts

    @pytest.mark.parametrize("kind", ROWS)
    def test_histograms_are_no_counters(self, kind: EngineKind) -> None:
        """A histogram whose name ends in `_total` is none of a row's counters."""
        assert not any("iteration_tokens" in name for name in kind.families())

    @pytest.mark.parametrize("kind", ROWS)
    def test_whole(self, kind: EngineKind) -> None:
        """A row has a page, a source and caveats, and reads the metrics that recognise it."""
        assert kind.caveats
        assert kind.known_from
        assert kind.port > 0
        assert all(path.startswith("/") for path in kind.paths)
        assert kind.recognised_by <= kind.families()
        assert set(kind.paths).isdisjoint(kind.draining_paths)
        assert all(isinstance(pick, Pick) for role in kind.roles().values() for pick in role)


class TestRecognition:
    @pytest.mark.parametrize("path", all_engine_pages(), ids=lambda path: path.stem)
    async def test_recorded(self, path: object) -> None:
        """A recorded page is recognised as its own engine."""
        name = str(path).rpartition("/")[2]
        async with page_server(engine_page(name.removesuffix(".prom"))) as server:
            reader = EnginePageReader(server.url, model="m")
            await reader.read()

        assert name.startswith(f"{reader.engine}-")

    @pytest.mark.parametrize("name", WRITTEN)
    async def test_written(self, name: str) -> None:
        """A page is recognised by its own row, whichever rows come before it."""
        async with page_server(WRITTEN[name][0].encode()) as server:
            reader = EnginePageReader(server.url, model="m")
            await reader.read()

        assert name == reader.engine

    async def test_dynamo_worker(self) -> None:
        """A Dynamo worker passes its engine's families through: it is that engine."""
        own = b'dynamo_component_requests_total{dynamo_component="backend"} 64\n'
        async with page_server(own + VLLM_LIKE) as server:
            reader = EnginePageReader(server.url)
            counts = await reader.read()

        assert ("vllm", 4585) == (reader.engine, counts.output_tokens)

    async def test_frontend_and_worker_on_one_page(self) -> None:
        """If both were ever on one page, the engine's own families count, and those alone."""
        async with page_server(DYNAMO.encode() + VLLM_LIKE) as server:
            reader = EnginePageReader(server.url)

            assert 4585 == (await reader.read()).output_tokens

    async def test_nim_with_vllm_names(self) -> None:
        """A NIM that shows vLLM's names beside bare ones is read as vLLM, once."""
        async with page_server(NIM.encode() + VLLM_LIKE) as server:
            reader = EnginePageReader(server.url)

            assert 4585 == (await reader.read()).output_tokens

    async def test_old_sglang_by_its_name(self) -> None:
        """Who configures sglang need not know which version it is."""
        page = b"sglang:generation_tokens_total 8\nsglang:prompt_tokens_total 27\n"
        async with page_server(page) as server:
            reader = EnginePageReader(server.url, engine="sglang")
            counts = await reader.read()

        assert ("sglang-before-0.5.8", 8) == (reader.engine, counts.output_tokens)


class TestNames:
    def test_unique(self) -> None:
        """No name is used twice, and every one that may be configured is a row's."""
        names = [kind.name for kind in ENGINES]

        assert len(names) == len(set(names))
        assert set(engine_names()) < set(names)

    def test_counts_at(self) -> None:
        """It is known by name when counters move; of an unknown engine the worse is taken."""
        assert ("live", "live", "request_end") == tuple(map(counts_at, ("vllm", "sglang", "llamacpp")))
        assert ("request_end", "live") == (counts_at("my-engine"), counts_at(""))

    def test_frontends(self) -> None:
        """One engine is a frontend of others."""
        assert ["dynamo"] == [kind.name for kind in ENGINES if is_frontend(kind.name)]
