"""Engines are found, read and let go: over real processes, real sockets and real pages."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import engine_trees
from support.process_trees import NOTHING, Actor, Socket, running, write_process
from support.readings import info

from perwatt.discovery import signatures, understood
from perwatt_agent.clock import SystemClock
from perwatt_agent.config import AgentConfig, EnginesConfig
from perwatt_agent.discovery.configured import Configured
from perwatt_agent.discovery.feed import DiscoveryFeed
from perwatt_agent.discovery.processes import ProcessTable
from perwatt_agent.engine.kinds.own import OwnKind
from perwatt_agent.identity import Identity, Names
from perwatt_agent.readings import EngineSample, GpuSample
from perwatt_agent.snapshot import GpuInfo, GpuProcess, GpuSlowReading

GPUS = tuple(info(index) for index in range(4))
OWN = (
    OwnKind(
        "my-engine",
        recognised_by=("my_tokens_total",),
        process=r"my-server serve\b",
        path="/stats",
        output_tokens=("my_tokens_total",),
    ),
)
OUTPUT_TOKENS = 4585.0
"""What the page in engine_trees says."""


Accept = Callable[[list[EngineSample]], bool]


class Somebody:
    """Says of every process the same."""

    def __init__(self, identity: Identity = Identity()) -> None:  # noqa: B008 - it is frozen
        self.identity = identity
        self.pending = False

    def identify(self, pid: int | None, gpus: Sequence[GpuInfo] = ()) -> Identity:
        return self.identity


class Watched:
    """A feed, and what it has told."""

    def __init__(self, feed: DiscoveryFeed) -> None:
        self.feed = feed
        self.told: list[EngineSample] = []

    async def round(self, gpu_processes: Mapping[int, Sequence[int]] | None = None, mig: str = "") -> None:
        """Let the driver name its processes, where it does, all in the instance *mig*, and look once."""
        samples = [
            GpuSample(
                info(gpu).uuid,
                "ok",
                slow=GpuSlowReading(0.0, processes=tuple(GpuProcess(pid, mig=mig) for pid in pids)),
            )
            for gpu, pids in (gpu_processes or {}).items()
        ]
        self.told += self.feed.drain(GPUS, samples)
        await self.feed.round()
        self.told += self.feed.drain(GPUS, [])

    async def until(self, accept: Accept) -> None:
        """Sweep until what was told is as it should be."""

        async def sweep() -> None:
            while not accept(self.told):
                self.told += self.feed.drain(GPUS, [])
                await asyncio.sleep(0.01)

        await asyncio.wait_for(sweep(), 30.0)

    async def rounds_until(self, accept: Accept) -> None:
        """Look again and again, until what was told is as it should be."""

        async def look() -> None:
            while not accept(self.told):
                await self.round()
                await asyncio.sleep(0.05)

        await asyncio.wait_for(look(), 30.0)

    def tokens(self) -> dict[str, float | None]:
        """The tokens that each workload has told of."""
        return {sample.info.workload: sample.counts.output_tokens for sample in self.told if sample.counts}

    def claims(self) -> dict[str, tuple[str, ...]]:
        """The GPUs that each workload has claimed last."""
        return {sample.info.workload: sample.gpus for sample in self.told}

    def ended(self) -> list[str]:
        return [sample.info.workload for sample in self.told if sample.ended]


@asynccontextmanager
async def watching(
    configured: Configured = Configured(),  # noqa: B008 - it is frozen
    identifier: Somebody | None = None,
    root: Path = Path("/proc"),
    given: Sequence[str] = (),
    own: Sequence[OwnKind] = (),
) -> AsyncIterator[Watched]:
    kinds = AgentConfig(engines=EnginesConfig(kinds=tuple(own)))
    feed = DiscoveryFeed(
        ProcessTable(root),
        identifier or Somebody(),
        Names(given),
        configured,
        SystemClock(),
        interval_seconds=0.05,
        kinds=understood(kinds),
        signatures=signatures(kinds),
    )
    try:
        yield Watched(feed)
    finally:
        feed.close()


def has_tokens(told: list[EngineSample]) -> bool:
    return any(sample.counts for sample in told)


class TestTaken:
    async def test_tp2(self, tmp_path: Path) -> None:
        """One engine over two GPUs: both are its own, with all its processes; its workers hear nothing."""
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
        """GPUs that the launch asks for and that are not held here are counted."""
        with running(tmp_path, actor) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker-0")], 1: [tree.pid("worker-1")]})
                await watched.until(has_tokens)

            assert missing == watched.told[-1].missing_gpus

    async def test_two_servers_behind_one_socket(self, tmp_path: Path) -> None:
        """API servers that share a socket are one engine, asked once."""
        with running(tmp_path, engine_trees.vllm_two_servers()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                await watched.until(has_tokens)

            assert [f"vllm-{tree.port('api')}"] == list(watched.claims())

    async def test_paths(self, tmp_path: Path) -> None:
        """TensorRT-LLM's /metrics is drained by whoever reads it: it is never asked for."""
        with running(tmp_path, engine_trees.trtllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("rank")]})
                await watched.until(has_tokens)

            assert {"connected", "GET /prometheus/metrics HTTP/1.1"} == set(tree.heard("api"))

    async def test_first_of_several_paths(self, tmp_path: Path) -> None:
        """An engine whose page moved from release to release is asked where it is now, then where it was."""
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
        """Each model is a workload; a router is never asked, since that may load a model."""
        with running(tmp_path, engine_trees.llama_router()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("model-0")], 1: [tree.pid("model-1")]})
                await watched.until(lambda told: len({one.info.workload for one in told if one.counts}) == 2)

            assert [("GPU-0",), ("GPU-1",)] == sorted(watched.claims().values())
            assert [] == tree.heard("router")

    async def test_who_it_is_for(self, tmp_path: Path) -> None:
        """The name is the job's, the pod's or the unit's where it is known; two of one are told apart."""
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
        """Nothing is told of a workload while its name is still looked up."""
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
        """What was taken is said once."""
        caplog.set_level(logging.INFO)
        with running(tmp_path, engine_trees.vllm()) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})
                lines = len(caplog.records)
                for _ in range(3):
                    await watched.round({0: [tree.pid("worker")]})

            assert lines == len(caplog.records)
            assert f"is read at http://127.0.0.1:{tree.port('api')}/metrics" in caplog.text


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
        """When its process ends the workload is over, a sweep after the last page; nobody is asked then."""
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
        """Another process on the port of the one before is the same workload, and goes on."""
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
        """What takes over a port is not asked, between two rounds either."""
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
        """A page that is no engine's is refused, once; its joules are nobody's."""
        page = tmp_path / "other.prom"
        page.write_text("# TYPE some_total counter\nsome_total 1\n")
        with running(tmp_path / "a", engine_trees.vllm(str(page))) as tree:
            async with watching() as watched:
                for _ in range(3):
                    await watched.round({0: [tree.pid("worker")]})

            assert [] == watched.told
            assert 1 == caplog.text.count("gives no tokens")
            assert {"connected", "GET /metrics HTTP/1.1"} == set(tree.heard("api"))

    async def test_no_page(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """An engine whose metrics are switched off says why it gives no tokens."""
        with running(tmp_path, engine_trees.vllm(NOTHING)) as tree:
            async with watching() as watched:
                await watched.round({0: [tree.pid("worker")]})

            assert [] == watched.told
            assert "HTTP 404" in caplog.text

    @pytest.mark.parametrize(
        ("configured", "reason"),
        [
            pytest.param(
                lambda port: Configured(ports=frozenset({port})), "its page is configured", id="page"
            ),
            pytest.param(lambda port: Configured(exclusive=("all",)), "GPU 1 is claimed", id="all GPUs"),
            pytest.param(lambda port: Configured(exclusive=((1,),)), "GPU 1 is claimed", id="by index"),
            pytest.param(lambda port: Configured(exclusive=(("GPU-1",),)), "GPU 1 is claimed", id="by UUID"),
        ],
    )
    async def test_configuration_wins(
        self,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        configured: Callable[[int], Configured],
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
            async with watching(Configured(exclusive=(("MIG-a",),))) as watched:
                await watched.round({1: [tree.pid("worker")]}, mig)

            assert is_left_alone == ("MIG-a is claimed by a configured endpoint" in caplog.text)
            assert is_left_alone == (tree.heard("api") == [])

    async def test_other_claims_do_not_matter(self, tmp_path: Path) -> None:
        """Claims on other GPUs and pages at other ports leave an engine free; names are given once."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            name = f"vllm-{tree.port('api')}"
            others = Configured(frozenset({1}), ((0,), ()))
            async with watching(others, given=[name]) as watched:
                await watched.round({1: [tree.pid("worker")]})
                await watched.until(has_tokens)

            assert {f"{name}-{tree.port('api')}": ("GPU-1",)} == watched.claims()


class TestHealth:
    async def test_nobody_on_the_gpus(self, tmp_path: Path) -> None:
        """Without processes on the GPUs nothing is looked at, which is a success."""
        async with watching(root=tmp_path / "no such folder") as watched:
            await watched.round({0: []})

            assert ("discovery", True, ()) == (
                watched.feed.health().name,
                watched.feed.health().success,
                watched.feed.health().failures,
            )

    async def test_surprise(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A search that fails is counted, told once, and tried again."""
        async with watching(root=tmp_path / "no such folder") as watched:
            await watched.round({0: [1]})
            await watched.round()

            assert (("unexpected", 2),) == watched.feed.health().failures
            assert not watched.feed.health().success
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

                assert dict(watched.feed.health().failures)["ended"] > 0
