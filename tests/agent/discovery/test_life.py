"""Engines that load, grow, restart, change places and end, as discovery follows them."""

from pathlib import Path

from support.engines import engine_trees
from support.processes.process_trees import Actor, Socket, running, write_process
from support.processes.watched import OUTPUT_TOKENS, has_tokens, watching


class TestLife:
    async def test_loading(self, tmp_path: Path) -> None:
        """An engine that does not listen yet holds its GPUs already, and is loading."""
        with running(tmp_path, engine_trees.vllm(), listens=False) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.until(lambda told: any(one.failure == "loading" for one in told))

                tree.listen()
                await watched.rounds_until(has_tokens)

            assert {f"vllm-{tree.port('api')}": ("GPU-0",)} == watched.claims()
            assert [] == watched.ended()

    async def test_loading_under_another_port(self, tmp_path: Path) -> None:
        """An engine that comes up at another port than its usual one is another workload from then on."""
        tree_of = engine_trees.vllm(options="--config vllm.yaml")
        with running(tmp_path, tree_of, listens=False) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.until(lambda told: any(one.failure == "loading" for one in told))
                tree.listen()
                await watched.rounds_until(lambda told: has_tokens(told) and any(one.ended for one in told))

            assert ["vllm-8000"] == watched.ended()
            assert {f"vllm-{tree.port('api')}": OUTPUT_TOKENS} == watched.tokens()

    async def test_end(self, tmp_path: Path) -> None:
        """When its process ends, the workload ends one cycle after the last page, and no request is sent."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.until(has_tokens)
                tree.kill()
                await watched.round()
                await watched.until(lambda told: any(one.ended for one in told))

                (last,) = (sample for sample in watched.told if sample.ended)
                assert ((), None) == (last.gpus, last.counts)
                before = len(watched.told)
                await watched.round()
                assert before == len(watched.told)

    async def test_restart_on_the_same_port(self, tmp_path: Path) -> None:
        """A new process on the port of the previous one is the same workload, which continues."""
        with running(tmp_path / "a", engine_trees.vllm()) as first:
            port = first.port("api")
            async with watching() as watched:
                await watched.round({0: [first.pid("worker")]})
                await watched.until(has_tokens)
                first.kill()
                again = engine_trees.vllm(options=f"--port {port}", port=port)
                with running(tmp_path / "b", again) as second:
                    watched.told.clear()
                    await watched.round({0: [second.pid("worker")]})
                    await watched.until(has_tokens)

            assert {f"vllm-{port}": ("GPU-0",)} == watched.claims()
            assert [] == watched.ended()

    async def test_another_owner_of_the_port(self, tmp_path: Path) -> None:
        """A process that takes over a port receives no request, even between two rounds."""
        with running(tmp_path / "a", engine_trees.vllm()) as first:
            port = first.port("api")
            async with watching() as watched:
                await watched.round({0: [first.pid("worker")]})
                await watched.until(has_tokens)
                first.kill()
                stranger = Actor("root", "/usr/bin/python rendezvous.py", [Socket("api", port=port)])
                with running(tmp_path / "b", stranger) as second:
                    watched.told.clear()
                    await watched.until(lambda told: len([one for one in told if one.failure == "ended"]) > 3)
                    await watched.round({0: [second.pid("root")]})

                    assert [] == second.heard("api")

    async def test_same_process_under_another_title(self, tmp_path: Path) -> None:
        """A process that takes a title, or loses its parent, is the same engine; a reused id is another."""
        write_process(tmp_path, 7, 3, 100)
        async with watching(root=tmp_path) as watched:
            await watched.round({0: [7]})
            write_process(tmp_path, 7, 1, 100, comm="vllm")
            await watched.round()
            assert ({"vllm-8000": ("GPU-0",)}, []) == (watched.claims(), watched.ended())
            assert {(1.0,)} == {one.pid_starts for one in watched.told}

            write_process(tmp_path, 7, 1, 200)
            await watched.round()
            await watched.until(lambda told: told[-1].pid_starts == (2.0,))
            assert {"vllm-8000": ("GPU-0",)} == watched.claims()

    async def test_no_gpu_any_more(self, tmp_path: Path) -> None:
        """An engine that lives on and computes nowhere holds nothing."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.round({0: []})
                await watched.round()

            assert ((), 1) == (watched.told[-1].gpus, watched.told[-1].missing_gpus)

    async def test_growth(self, tmp_path: Path) -> None:
        """GPUs that are taken later belong to the workload from then on."""
        with running(tmp_path, engine_trees.vllm_tp2()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker-0")]})
                await watched.round({1: [tree.pid("worker-1")]})

            assert {f"vllm-{tree.port('api')}": ("GPU-0", "GPU-1")} == watched.claims()
