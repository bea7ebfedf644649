"""Who counts what, where several work on one request: prefill, decode, router, frontend."""

import pytest
from support.engines.engine_pages import Engine, changed, engine_page, kind_named, like_vllm_0_9

from perwatt_agent.engine.deduplication import FrontendDeduplicator
from perwatt_agent.engine.kinds.sglang import SGLANG
from perwatt_agent.engine.kinds.vllm import VLLM
from perwatt_agent.facts.engine_counts import EngineCounts
from perwatt_agent.facts.readings import EngineSample
from perwatt_agent.facts.workload import WorkloadInfo

AFTER = engine_page("vllm-0.32.0-4-after")
SOURCE = 'vllm:prompt_tokens_by_source_total{engine="0",model_name="tiny-llama",source="%s"}'


class TestRoles:
    def test_prefill(self) -> None:
        """The one token that a prefill worker makes of each request is no output; its prompts count."""
        counts = Engine(VLLM, role="prefill").read(AFTER)

        assert (None, None, None) == (
            counts.output_tokens,
            counts.effective_output_tokens,
            counts.requests_ok,
        )
        assert (3854, 8832) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    def test_decode(self) -> None:
        """Prompt tokens whose KV came from a prefill worker are neither computed nor cached here."""
        page = changed(AFTER, SOURCE % "external_kv_transfer", "12686.0")
        page = changed(page, SOURCE % "local_compute", "0.0")
        page = changed(page, SOURCE % "local_cache_hit", "0.0")
        counts = Engine(VLLM, role="decode").read(page)

        assert (4585, 0, 0) == (
            counts.output_tokens,
            counts.prompt_computed_tokens,
            counts.prompt_cached_tokens,
        )

    def test_decode_that_cannot_tell(self) -> None:
        """Where the page does not say whence prompts came, a decoding worker's are unknown."""
        counts = Engine(VLLM, role="decode").read(like_vllm_0_9(AFTER))

        assert 4585 == counts.output_tokens
        assert (None, None) == (counts.prompt_computed_tokens, counts.prompt_cached_tokens)

    def test_named_by_its_page(self) -> None:
        """A prefill worker of 20 requests made 20 first tokens, and no output, whoever configured it."""
        label, mixed = b'engine_type="unified"', engine_page("sglang-0.5.23-3-after")
        engine = Engine(SGLANG)
        counts = engine.read(mixed.replace(label, b'engine_type="prefill"'))

        assert ("prefill", None, None) == (engine.role, counts.output_tokens, counts.requests_ok)
        assert Engine(SGLANG).read(mixed).prompt_computed_tokens == counts.prompt_computed_tokens

    @pytest.mark.parametrize("named", ["decode", "unified", "undefined"])
    def test_others_named_by_their_page(self, named: str) -> None:
        """A decode worker delivers; a label that is no role leaves the workload mixed."""
        page = engine_page("sglang-0.5.23-3-after")
        engine = Engine(SGLANG)
        counts = engine.read(page.replace(b'engine_type="unified"', b'engine_type="%s"' % named.encode()))

        assert Engine(SGLANG).read(page).output_tokens == counts.output_tokens
        assert ("decode" if named == "decode" else "mixed") == engine.role

    def test_configured_role_first(self) -> None:
        """A role that was configured holds, whatever the page says."""
        page = engine_page("sglang-0.5.23-3-after").replace(b'"unified"', b'"prefill"')

        assert Engine(SGLANG, role="decode").read(page).output_tokens is not None

    def test_router(self) -> None:
        """What a router passes on is counted where it was made."""
        counts = Engine(VLLM, role="router").read(AFTER)

        assert (
            EngineCounts(
                "tiny-llama",
                requests_running=0,
                requests_waiting=0,
                process_start_unix_seconds=counts.process_start_unix_seconds,
            )
            == counts
        )


def heard(workload: str, engine: str, *gpus: str, ended: bool = False) -> EngineSample:
    counts = EngineCounts("m", 100, requests_ok=5, requests_running=2)
    return EngineSample(
        WorkloadInfo(workload, engine=engine), gpus, 1.0, 1.0, None if ended else counts, ended=ended
    )


def outputs(frontends: FrontendDeduplicator, *samples: EngineSample) -> list[float | None]:
    return [one.counts.output_tokens for one in frontends.deduplicate(samples) if one.counts]


class TestFrontends:
    def test_by_itself(self) -> None:
        """A frontend whose workers have no page counts for them."""
        assert [100] == outputs(FrontendDeduplicator(), heard("front", "dynamo", "GPU-0"))

    @pytest.mark.parametrize("swap", [False, True])
    def test_beside_its_worker(self, swap: bool) -> None:
        """Frontend and worker are never added together, whichever sample comes first."""
        samples = [heard("front", "dynamo", "GPU-0", "GPU-1"), heard("worker", "vllm", "GPU-1")]
        kept = FrontendDeduplicator().deduplicate(samples[::-1] if swap else samples)
        tokens = {one.info.workload: one.counts.output_tokens for one in kept if one.counts}

        assert {"front": None, "worker": 100} == tokens

    def test_remembered(self) -> None:
        """The sample of the worker may come in another collection cycle."""
        frontends = FrontendDeduplicator()
        frontends.deduplicate([heard("worker", "vllm", "GPU-1")])

        assert [None] == outputs(frontends, heard("front", "dynamo", "GPU-1"))

    def test_no_gpu(self) -> None:
        """A frontend that holds no GPU is a router of workers elsewhere."""
        assert [None] == outputs(FrontendDeduplicator(), heard("front", "dynamo"))

    def test_engines_of_other_gpus(self) -> None:
        """An engine of its own, on GPUs of its own, has nothing to do with the frontend."""
        samples = heard("front", "dynamo", "GPU-0"), heard("chat", "vllm", "GPU-1")

        assert [100, 100] == outputs(FrontendDeduplicator(), *samples)

    def test_worker_gone(self) -> None:
        """After the worker has ended, it no longer reduces the frontend."""
        frontends = FrontendDeduplicator()
        frontends.deduplicate([heard("worker", "vllm", "GPU-1")])
        frontends.deduplicate([heard("worker", "vllm", "GPU-1", ended=True)])

        assert [100] == outputs(frontends, heard("front", "dynamo", "GPU-1"))

    def test_what_runs(self) -> None:
        """What runs and waits at a frontend is shown all the same."""
        samples = heard("front", "dynamo", "GPU-0"), heard("worker", "vllm", "GPU-0")
        front = FrontendDeduplicator().deduplicate(samples)[0].counts

        assert EngineCounts("m", requests_running=2) == front
        assert kind_named("dynamo").frontend
