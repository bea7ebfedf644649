"""Engines are found and read: over real processes, real sockets and real pages."""

import logging
from pathlib import Path

import pytest
from support.engines import engine_trees
from support.processes.process_trees import Actor, running
from support.processes.watched import OUTPUT_TOKENS, Somebody, has_tokens, watching

from perwatt_agent.engine.custom_kind import CustomKind
from perwatt_agent.identity.identity import Identity

OWN = (
    CustomKind(
        "my-engine",
        recognised_by=("my_tokens_total",),
        process=r"my-server serve\b",
        path="/stats",
        output_tokens=("my_tokens_total",),
    ),
)


class TestTaken:
    async def test_tp2(self, tmp_path: Path) -> None:
        """One engine on two GPUs holds both, with all its processes; its workers receive nothing."""
        with running(tmp_path, engine_trees.vllm_tp2()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker-0")], 2: [tree.pid("worker-1")]})
                await watched.until(has_tokens)

            name = f"vllm-{tree.port('api')}"
            assert {name: OUTPUT_TOKENS} == watched.tokens()
            assert {name: ("GPU-0", "GPU-2")} == watched.claims()
            assert set(tree.pids.values()) == set(watched.told[-1].pids)
            assert "vllm" == watched.told[-1].info.engine
            assert {"connected", "GET /metrics HTTP/1.1"} == set(tree.heard("api"))
            assert [] == [line for name in tree.ports if "gloo" in name for line in tree.heard(name)]

    @pytest.mark.parametrize(
        ("actor", "missing"),
        [
            pytest.param(engine_trees.vllm_tp2(), 0, id="all"),
            pytest.param(engine_trees.vllm_tp2("--tensor-parallel-size 8"), 6, id="some elsewhere"),
            pytest.param(engine_trees.vllm_tp2("--config vllm.yaml"), None, id="not known"),
        ],
    )
    async def test_missing_gpus(self, tmp_path: Path, actor: Actor, missing: int | None) -> None:
        """GPUs that the launch requests and that are not held here are counted."""
        with running(tmp_path, actor) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker-0")], 1: [tree.pid("worker-1")]})
                await watched.until(has_tokens)

            assert missing == watched.told[-1].missing_gpus

    async def test_two_servers_behind_one_socket(self, tmp_path: Path) -> None:
        """API servers that share a socket are one engine, probed once."""
        with running(tmp_path, engine_trees.vllm_two_servers()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.until(has_tokens)

            assert [f"vllm-{tree.port('api')}"] == list(watched.claims())

    async def test_paths(self, tmp_path: Path) -> None:
        """Reading /metrics of TensorRT-LLM empties it: it is never requested."""
        with running(tmp_path, engine_trees.trtllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("rank")]})
                await watched.until(has_tokens)

            assert {"connected", "GET /prometheus/metrics HTTP/1.1"} == set(tree.heard("api"))

    async def test_first_of_several_paths(self, tmp_path: Path) -> None:
        """An engine whose page moved between releases is probed at the new path, then at the old one."""
        with running(tmp_path, engine_trees.nim()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("core")]})
                await watched.until(has_tokens)

            assert {f"nim-{tree.port('api')}": OUTPUT_TOKENS} == watched.tokens()
            assert "vllm" == watched.told[-1].info.engine, "its page is vLLM's"
            assert {"connected", "GET /v1/metrics HTTP/1.1"} == set(tree.heard("api"))

    async def test_prefill_worker(self, tmp_path: Path) -> None:
        """The one token that a prefill worker makes for each request is no output."""
        with running(tmp_path, engine_trees.dynamo_worker()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("core")]})
                await watched.until(has_tokens)

            assert {f"dynamo-{tree.port('api')}": None} == watched.tokens()
            assert "prefill" == watched.told[-1].info.role
            assert [] == [line for name in tree.ports if "gloo" in name for line in tree.heard(name)]

    async def test_own_engine(self, tmp_path: Path) -> None:
        """An engine that its operator described is found by its process and read by its metrics."""
        page = tmp_path / "own.prom"
        page.write_text("my_tokens_total 12\n")
        with running(tmp_path / "engine", engine_trees.own(str(page))) as tree:
            async with watching(own=OWN) as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.until(has_tokens)

            assert {f"my-engine-{tree.port('api')}": 12.0} == watched.tokens()
            assert {"connected", "GET /stats HTTP/1.1"} == set(tree.heard("api"))

    async def test_models_of_a_router(self, tmp_path: Path) -> None:
        """Each model is a workload; a router is never probed, since that may load a model."""
        with running(tmp_path, engine_trees.llama_router()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("model-0")], 1: [tree.pid("model-1")]})
                await watched.until(lambda told: len({one.info.workload for one in told if one.counts}) == 2)

            assert [("GPU-0",), ("GPU-1",)] == sorted(watched.claims().values())
            assert [] == tree.heard("router")

    async def test_who_it_is_for(self, tmp_path: Path) -> None:
        """The name is that of the job, pod or unit if known; a second engine has its port appended."""
        with (
            running(tmp_path / "a", engine_trees.vllm()) as one,
            running(tmp_path / "b", engine_trees.vllm()) as other,
        ):
            async with watching(identifier=Somebody(Identity(slurm_job="7"))) as watched:
                await watched.round({0: [one.pid("worker")], 1: [other.pid("worker")]})
                await watched.until(lambda told: len({sample.info.workload for sample in told}) == 2)

            ports = (one.port("api"), other.port("api"))
            assert set(watched.claims()) in ({"slurm-7", f"slurm-7-{port}"} for port in ports)
            assert {"7"} == {sample.info.slurm_job for sample in watched.told}

    async def test_pending_names(self, tmp_path: Path) -> None:
        """A workload is not reported while its name is looked up."""
        identifier = Somebody()
        identifier.pending = True
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching(identifier=identifier) as watched:
                await watched.round({0: [tree.pid("worker")]})
                assert [] == watched.told

                identifier.pending = False
                await watched.round()
                await watched.until(has_tokens)

    async def test_said_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """An accepted page is logged once."""
        caplog.set_level(logging.INFO)
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                lines = len(caplog.records)
                for _ in range(3):
                    await watched.round({0: [tree.pid("worker")]})

            assert lines == len(caplog.records)
            assert f"is read at http://127.0.0.1:{tree.port('api')}/metrics" in caplog.text


class TestHealth:
    async def test_nobody_on_the_gpus(self, tmp_path: Path) -> None:
        """Without processes on the GPUs nothing is looked at, which is a success."""
        async with watching(root=tmp_path / "no such folder") as watched:
            await watched.round({0: []})

            assert ("discovery", True, ()) == (
                watched.collector.health().name,
                watched.collector.health().success,
                watched.collector.health().failures,
            )

    async def test_surprise(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A search that fails is counted, logged once, and repeated."""
        async with watching(root=tmp_path / "no such folder") as watched:
            await watched.round({0: [1]})
            await watched.round()

            assert (("unexpected", 2),) == watched.collector.health().failures
            assert not watched.collector.health().success
            assert 1 == len(caplog.records)

    async def test_failed_fetches(self, tmp_path: Path) -> None:
        """Failed fetches are counted, and stay counted when their engine has ended."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                tree.kill()
                await watched.until(lambda told: any(one.failure == "ended" for one in told))
                await watched.round()
                await watched.until(lambda told: any(one.ended for one in told))

                assert dict(watched.collector.health().failures)["ended"] > 0
