"""What discovery does not take, and what it does not even ask."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from support.engines import engine_trees
from support.processes.process_trees import NOTHING, running
from support.processes.watched import has_tokens, watching

from perwatt_agent.discovery.configured import ConfiguredEndpoints


class TestRefused:
    async def test_rendezvous(self, tmp_path: Path) -> None:
        """Not a byte and no connection to a training job, whatever its ports and arguments look like."""
        with running(tmp_path, engine_trees.torchrun()) as tree:
            async with watching() as watched:
                for _ in range(3):
                    await watched.round({0: [tree.pid("rank-0")], 1: [tree.pid("rank-1")]})

            assert [] == watched.told
            assert "" == tree.log.read_text()

    async def test_no_known_family(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A page of no engine is rejected and logged once; its joules belong to no workload."""
        page = tmp_path / "other.prom"
        page.write_text("# TYPE some_total counter\nsome_total 1\n")
        with running(tmp_path / "a", engine_trees.vllm(str(page))) as tree:
            async with watching() as watched:
                for _ in range(3):
                    await watched.round({0: [tree.pid("worker")]})

            assert [] == watched.told
            assert 1 == caplog.text.count("has no tokens")
            assert {"connected", "GET /metrics HTTP/1.1"} == set(tree.heard("api"))

    async def test_no_page(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """For an engine with metrics switched off, the log says why it has no tokens."""
        with running(tmp_path, engine_trees.vllm(NOTHING)) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})

            assert [] == watched.told
            assert "HTTP 404" in caplog.text

    @pytest.mark.parametrize(
        ("configured", "reason"),
        [
            pytest.param(
                lambda port: ConfiguredEndpoints(ports=frozenset({port})), "its page is configured", id="page"
            ),
            pytest.param(
                lambda port: ConfiguredEndpoints(exclusive=("all",)), "GPU 1 is claimed", id="all GPUs"
            ),
            pytest.param(
                lambda port: ConfiguredEndpoints(exclusive=((1,),)), "GPU 1 is claimed", id="by index"
            ),
            pytest.param(
                lambda port: ConfiguredEndpoints(exclusive=(("GPU-1",),)), "GPU 1 is claimed", id="by UUID"
            ),
        ],
    )
    async def test_configuration_wins(
        self,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        configured: Callable[[int], ConfiguredEndpoints],
        reason: str,
    ) -> None:
        """A page or a GPU that the configuration has is left alone, which is no reason to warn."""
        caplog.set_level(logging.INFO)
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching(configured(tree.port("api"))) as watched:
                await watched.round({1: [tree.pid("worker")]})

            assert ([], []) == (watched.told, tree.heard("api"))
            assert [("INFO", True)] == [
                (record.levelname, reason in record.getMessage()) for record in caplog.records
            ]

    @pytest.mark.parametrize(("mig", "is_left_alone"), [("MIG-a", True), ("MIG-b", False), ("", False)])
    async def test_an_instance_is_claimed(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, mig: str, is_left_alone: bool
    ) -> None:
        """A claim on a MIG instance is one on what computes there, not on the rest of its GPU."""
        caplog.set_level(logging.INFO)
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching(ConfiguredEndpoints(exclusive=(("MIG-a",),))) as watched:
                await watched.round({1: [tree.pid("worker")]}, mig)

            assert is_left_alone == ("MIG-a is claimed by a configured endpoint" in caplog.text)
            assert is_left_alone == (tree.heard("api") == [])

    async def test_other_claims_do_not_matter(self, tmp_path: Path) -> None:
        """Claims on other GPUs and pages at other ports leave an engine free; names are given once."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            name = f"vllm-{tree.port('api')}"
            others = ConfiguredEndpoints(frozenset({1}), ((0,), ()))
            async with watching(others, given=[name]) as watched:
                await watched.round({1: [tree.pid("worker")]})
                await watched.until(has_tokens)

            assert {f"{name}-{tree.port('api')}": ("GPU-1",)} == watched.claims()
