"""From the processes on the GPUs to engines and their sockets, over trees of real processes."""

import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.engines import engine_trees
from support.processes.process_trees import Actor, Tree, running, write_process

from perwatt_agent.discovery.command_line import program
from perwatt_agent.discovery.launches import gpus_requested, kind_of, role_of, shares_kv
from perwatt_agent.discovery.process_table import PROC, ProcessTable
from perwatt_agent.discovery.scanner import Scanner
from perwatt_agent.discovery.search import DiscoveredEngine, SearchResult, describe, search
from perwatt_agent.discovery.sockets import Listener, listeners
from perwatt_agent.engine.catalog import ENGINES
from perwatt_agent.engine.custom_kind import CustomKind, custom_kind


def look(tree: Tree, on_gpus: Mapping[str, str]) -> SearchResult:
    """What is found when the actors of these names compute on these GPUs."""
    gpu_processes = {gpu: tuple(tree.pid(name) for name in names.split()) for gpu, names in on_gpus.items()}
    return search(ProcessTable(), gpu_processes)


def candidates(tree: Tree, found: DiscoveredEngine) -> list[tuple[str, str]]:
    """The sockets that would be probed, and their owners, by name."""
    names = {pid: name for name, pid in tree.pids.items()}
    sockets = {port: name for name, port in tree.ports.items()}
    return [(sockets[one.listener.port], names[one.owner.pid]) for one in found.candidates]


ONE = {"GPU-0": "worker"}
TWO = {"GPU-0": "worker-0", "GPU-1": "worker-1"}
RANKS = {"GPU-0": "scheduler-0", "GPU-1": "scheduler-1"}


@pytest.mark.parametrize(
    ("actor", "on_gpus", "engine", "owner", "requested"),
    [
        pytest.param(engine_trees.vllm(), ONE, "vllm", "root", 1, id="vLLM"),
        pytest.param(engine_trees.vllm(), {"GPU-0": "core"}, "vllm", "root", 1, id="vLLM in one process"),
        pytest.param(engine_trees.vllm_tp2(), TWO, "vllm", "root", 2, id="vLLM TP2"),
        pytest.param(engine_trees.vllm_two_servers(), ONE, "vllm", "root", 1, id="vLLM, two API servers"),
        pytest.param(engine_trees.vllm_forked(), TWO, "vllm", "root", 2, id="vLLM 0.9, forked"),
        pytest.param(engine_trees.sglang_dp2(), RANKS, "sglang", "root", 2, id="SGLang DP2"),
        pytest.param(
            engine_trees.sglang_rust(), {"GPU-0": "scheduler"}, "sglang", "scheduler", 1, id="SGLang in Rust"
        ),
        pytest.param(engine_trees.tgi(), {"GPU-0": "shard"}, "tgi", "router", 1, id="TGI"),
        pytest.param(engine_trees.trtllm(), {"GPU-0": "rank"}, "trtllm", "root", 1, id="TensorRT-LLM"),
        pytest.param(engine_trees.triton(), {"GPU-0": "stub root"}, "triton", "root", None, id="Triton"),
        pytest.param(engine_trees.nim(), {"GPU-0": "core"}, "nim", "root", None, id="NIM 1"),
        pytest.param(engine_trees.nim_2(), {"GPU-0": "core"}, "nim", "server", None, id="NIM 2"),
        pytest.param(engine_trees.kserve(), {"GPU-0": "core"}, "kserve", "root", None, id="KServe"),
        pytest.param(engine_trees.dynamo_worker(), {"GPU-0": "core"}, "dynamo", "root", None, id="Dynamo"),
        pytest.param(engine_trees.ray(), {"GPU-0": "core"}, "ray", "agent", None, id="Ray"),
    ],
)
def test_engines(
    tmp_path: Path, actor: Actor, on_gpus: dict[str, str], engine: str, owner: str, requested: int | None
) -> None:
    """Each engine is found once, with all its GPUs and the one socket of its page, no worker's."""
    with running(tmp_path, actor) as tree:
        (found,) = look(tree, on_gpus).engines

        assert (engine, tuple(on_gpus)) == (found.kind.name, found.gpus)
        assert [("api", owner)] == candidates(tree, found)
        assert tree.pid("root") == found.process.pid
        assert set(tree.pids.values()) == {process.pid for process in found.members}
        assert requested == found.gpus_requested


def test_a_router_and_its_models(tmp_path: Path) -> None:
    """Each model of a llama.cpp router is an engine of its own; the router is not probed."""
    with running(tmp_path, engine_trees.llama_router()) as tree:
        engines = look(tree, {"GPU-0": "model-0", "GPU-1": "model-1"}).engines

        asked = {found.gpus: candidates(tree, found) for found in engines}
        assert {("GPU-0",): [("model-0", "model-0")], ("GPU-1",): [("model-1", "model-1")]} == asked


def test_two_engines_on_one_gpu(tmp_path: Path) -> None:
    """Engines that share a GPU are two, each with its own page."""
    with (
        running(tmp_path / "a", engine_trees.vllm()) as one,
        running(tmp_path / "b", engine_trees.tgi()) as other,
    ):
        pids = (one.pid("worker"), other.pid("shard"))
        engines = search(ProcessTable(), {"GPU-0": pids}).engines

        ports = {found.kind.name: found.candidates[0].listener.port for found in engines}
        assert {"vllm": one.port("api"), "tgi": other.port("api")} == ports


def test_beside_ray_serve(tmp_path: Path) -> None:
    """What else Ray runs on a node is no engine's, though all of it is launched alike."""
    with running(tmp_path, engine_trees.ray()) as tree:
        found = look(tree, {"GPU-0": "core", "GPU-1": "trainer"})

        assert [("GPU-0",)] == [one.gpus for one in found.engines]
        assert ["ray::RayTrainWorker"] == [one.program for one in found.unknown]


@pytest.mark.parametrize("environment", [{}, {"DYN_SYSTEM_PORT": "-1"}])
def test_page_switched_off(tmp_path: Path, environment: dict[str, str]) -> None:
    """If only the launch can name the port and does not, there is no page, and no socket is probed."""
    with running(tmp_path, engine_trees.dynamo_worker(environment)) as tree:
        (found,) = look(tree, {"GPU-0": "core"}).engines

        assert ((), False) == (found.candidates, found.is_starting)
        assert "its launch does not set the port of its page: set DYN_SYSTEM_PORT" == found.absence


def test_own_engine(tmp_path: Path) -> None:
    """An engine that its operator described is found as those are that are known; without that it is not."""
    own = custom_kind(CustomKind("my-engine", process=r"my-server serve\b"))
    with running(tmp_path, engine_trees.own()) as tree:
        on_gpus = {"GPU-0": (tree.pid("worker"),)}
        assert () == search(ProcessTable(), on_gpus).engines

        (found,) = search(ProcessTable(), on_gpus, (own, *ENGINES)).engines
        assert ("my-engine", [("api", "root")]) == (found.kind.name, candidates(tree, found))


def test_strangers(tmp_path: Path) -> None:
    """A process that computes and is no engine is reported as unknown, and its sockets are no candidates."""
    with running(tmp_path, engine_trees.torchrun()) as tree:
        found = look(tree, {"GPU-0": "rank-0", "GPU-1": "rank-1"})

        assert () == found.engines
        strangers = {(one.program, one.gpus) for one in found.unknown}
        assert {("train.py", ("GPU-0",)), ("train.py", ("GPU-1",))} == strangers


class TestScanner:
    def test_unchanged(self, tmp_path: Path) -> None:
        """Nothing is searched again while the same processes compute and none of their relatives changes."""
        with running(tmp_path, engine_trees.vllm_tp2()) as tree:
            scanner = Scanner(ProcessTable())
            one = {"GPU-0": (tree.pid("worker-0"),)}
            both = one | {"GPU-1": (tree.pid("worker-1"),)}
            first = scanner.scan(one, (), force=False).search

            assert first is scanner.scan(one, (), force=False).search
            assert first is not scanner.scan(one, (), force=True).search
            more = scanner.scan(both, (), force=False).search
            assert [("GPU-0", "GPU-1")] == [found.gpus for found in more.engines]

            tree.kill()
            assert () == scanner.scan(both, (), force=False).search.engines

    def test_ended(self, tmp_path: Path) -> None:
        """Every scan reports which of the watched processes have ended."""
        with running(tmp_path, engine_trees.vllm()) as tree:
            table = ProcessTable()
            root = table.process(tree.pid("root"))
            assert root is not None
            assert frozenset() == Scanner(table).scan({}, (root,), force=False).ended

            tree.kill()
            assert {root} == Scanner(table).scan({}, (root,), force=False).ended


class TestSockets:
    def test_no_port_in_the_command_line(self, tmp_path: Path) -> None:
        """If the launch names no port, the sockets of its server are probed, not those of its workers."""
        with running(tmp_path, engine_trees.vllm(options="--config vllm.yaml")) as tree:
            (found,) = look(tree, {"GPU-0": "worker"}).engines

            assert [("api", "root")] == candidates(tree, found)
            assert None is found.gpus_requested, "the file may ask for any number"

    def test_loading(self, tmp_path: Path) -> None:
        """A server that does not listen yet is starting."""
        with running(tmp_path, engine_trees.vllm(), listens=False) as tree:
            (found,) = look(tree, {"GPU-0": "worker"}).engines

            assert ((), True, tree.port("api")) == (found.candidates, found.is_starting, found.port)
            assert f"it does not listen on port {tree.port('api')} yet" == found.absence

    def test_tables(self) -> None:
        """Listening sockets are read, and no others, as the kernel of this machine prints them."""
        with socket.socket() as listening, socket.create_server(("127.0.0.1", 0)) as other:
            listening.bind(("127.0.0.2", 0))
            assert os.fstat(listening.fileno()).st_ino not in listeners(PROC)

            listening.listen()
            with socket.create_connection(other.getsockname()) as connected:
                found = listeners(PROC)
                assert Listener(*listening.getsockname()) == found[os.fstat(listening.fileno()).st_ino]
                assert Listener(*other.getsockname()) == found[os.fstat(other.fileno()).st_ino]
                assert os.fstat(connected.fileno()).st_ino not in found

    def test_ipv6(self, tmp_path: Path) -> None:
        """Addresses of IPv6 are read too; a kernel without a table has none of its sockets."""
        words = struct.unpack("=4I", socket.inet_pton(socket.AF_INET6, "::1"))
        address = "".join(f"{word:08X}" for word in words)
        rest = "00000000:00000000 00:00000000 00000000  0  0"
        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "tcp6").write_text(
            "  sl  local_address  remote_address  st ...\n"
            f"   0: {address}:1F40 {'0' * 32}:0000 0A {rest} 4711 1 0\n"
            f"   1: {address}:1F40 {address}:C000 01 {rest} 4712 1 0\n"
        )

        assert {4711: Listener("::1", 8000)} == listeners(tmp_path)

    @pytest.mark.parametrize(
        ("address", "url"),
        [
            ("127.0.0.1", "http://127.0.0.1:80"),
            ("0.0.0.0", "http://127.0.0.1:80"),
            ("127.0.0.2", "http://127.0.0.2:80"),
            ("::", "http://[::1]:80"),
            ("::1", "http://[::1]:80"),
            ("10.0.0.5", None),
            ("fe80::1", None),
        ],
    )
    def test_loopback_only(self, address: str, url: str | None) -> None:
        """A socket is reached on loopback or not at all."""
        assert url == Listener(address, 80).loopback_url


class TestSignatures:
    @pytest.mark.parametrize(
        ("command", "runs"),
        [
            ("/usr/bin/python3.11 /opt/vllm/bin/vllm serve m", "vllm serve m"),
            ("python -u -X dev -m sglang.launch_server --port 1", "sglang.launch_server --port 1"),
            ("python -B -c import_vllm", ""),
            ("VLLM::Worker_TP0", "VLLM::Worker_TP0"),
            ("", ""),
        ],
    )  # fmt: skip
    def test_program(self, command: str, runs: str) -> None:
        """A program is named without folder and interpreter."""
        assert runs == program(command.split())

    @pytest.mark.parametrize(
        "command",
        [
            "docker run vllm/vllm-openai --model m",
            "bash -c vllm_serve_m",
            "tini -- vllm serve m",
            "vim vllm serve",
            "python train.py vllm serve",
            "/usr/bin/python -m torch.distributed.run vllm serve",
            "nvidia-smi",
            "python agent.py --port 8000",
            "python -m dynamo.frontend --http-port 8000",
            "",
        ],
    )
    def test_no_engine(self, command: str) -> None:
        """Whatever merely speaks of an engine is none."""
        assert None is kind_of(program(command.split()))

    @pytest.mark.parametrize(
        ("command", "gpus"),
        [
            ("vllm serve m", 1),
            ("vllm serve m -tp 4 --pipeline_parallel_size=2 --data-parallel-size 2", 16),
            ("vllm serve m --tensor-parallel-size many", 1),
            ("vllm serve m -tp 2 -dp 4 --data-parallel-rank 1", 2),
            ("vllm serve m -tp 2 -dp 4 --data-parallel-rank=0", 2),
            ("vllm serve m -tp 2 -dp 4 --data-parallel-external-lb", 2),
            ("vllm serve m -tp 2 -dp 4 --data-parallel-size-local 2", 4),
            ("vllm serve m -tp 2 -dp 4 -dpl 2 --data_parallel_hybrid_lb", 4),
            ("vllm serve m -dp 4 --data-parallel-size-local 4 --data-parallel-multi-port-external-lb", 4),
            ("vllm-rs serve m --port 8000 -- --tensor-parallel-size 2", 2),
            ("python -m sglang.launch_server --tp 8 --dp 4", 32),
            ("python -m sglang.launch_server --tp 8 --dp 4 --enable-dp-attention", 8),
            ("trtllm-serve m --tp_size 2 --pp_size 2", 4),
            ("text-generation-launcher --num-shard 2", 2),
            ("llama-server -m m.gguf", None),
        ],
    )
    def test_gpus_asked_for(self, command: str, gpus: int | None) -> None:
        """The degrees of parallelism multiply, unless one is inside the other."""
        kind = kind_of(program(command.split()))

        assert kind is not None
        assert kind.launch is not None
        assert gpus == gpus_requested(kind.launch, command.split())

    @pytest.mark.parametrize(
        ("command", "role"),
        [
            ("vllm serve m", "mixed"),
            ('vllm serve m --kv-transfer-config {"kv_connector":"P2p","kv_role":"kv_producer"}', "prefill"),
            ("vllm serve m --kv-transfer-config.kv_role kv_consumer", "decode"),
            ('vllm serve m --kv-transfer-config {"kv_role":"kv_both"}', "mixed"),
            ("python -m sglang.launch_server --disaggregation-mode prefill", "prefill"),
            ("python -m dynamo.trtllm --disaggregation-mode=decode", "decode"),
            ("python -m dynamo.vllm --is-prefill-worker", "prefill"),
            ("trtllm-serve m --server_role CONTEXT", "prefill"),
            ("trtllm-serve m --server_role generation", "decode"),
            ("trtllm-serve m", "mixed"),
            ("lmdeploy serve api_server m --role Prefill", "prefill"),
            ("lmdeploy serve api_server m --role=Decode", "decode"),
            ("lmdeploy serve api_server m --role Hybrid", "mixed"),
        ],
    )
    def test_role(self, command: str, role: str) -> None:
        """A launch for one half of the work has that role: what a prefill worker makes is no output."""
        assert role == role_of(command.split())

    @pytest.mark.parametrize(
        ("config", "shared"),
        [
            ('{"kv_connector":"NixlConnector","kv_role":"kv_both"}', True),
            ('{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}', False),
            ('{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}', False),
            ('{"kv_connector":"OffloadingConnector","kv_role":"kv_both"}', False),
            ('{"kv_connector":"MultiConnector","x":[{"kv_connector":"OffloadingConnector"}]}', False),
            ('{"kv_connector":"MultiConnector","x":[{"kv_connector":"MooncakeConnector"}]}', True),
            ("--no-such-thing", False),
        ],
    )
    def test_shares_kv(self, config: str, shared: bool) -> None:
        """A launch that joins workers, and does not say which half this one is, is told from an own cache."""
        assert shared == shares_kv(["vllm", "serve", "m", "--kv-transfer-config", config])

    @pytest.mark.parametrize(
        ("command", "shared"),
        [
            ("python -m dynamo.vllm --model m", True),
            ("sh -c exec python3 -m dynamo.vllm --model m --connector kvbm nixl", True),
            ("python -m dynamo.vllm --model m --connector kvbm", False),
            ("python -m dynamo.vllm --model m --connector none", False),
            ("python -m dynamo.vllm --model m --is-prefill-worker", False),
            ("python -m dynamo.sglang --model m", False),
        ],
    )
    def test_shares_kv_by_default(self, command: str, shared: bool) -> None:
        """A launcher may join its workers without an option."""
        assert shared == shares_kv(command.split())


class TestProcesses:
    """Over a /proc of our own, where processes do what real ones do not at our will."""

    def test_reused(self, tmp_path: Path) -> None:
        """A process that took over the id of another one is not that one."""
        table = ProcessTable(tmp_path)
        write_process(tmp_path, 7, 1, 100)
        before = table.process(7)
        assert before is not None
        assert table.is_alive(before)

        write_process(tmp_path, 7, 1, 200)
        assert not table.is_alive(before)

    def test_ended_and_not_buried(self, tmp_path: Path) -> None:
        """A zombie is no process any more."""
        write_process(tmp_path, 7, 1, 100, state="Z")

        assert None is ProcessTable(tmp_path).process(7)

    def test_any_title(self, tmp_path: Path) -> None:
        """A title may have parentheses and spaces in it."""
        write_process(tmp_path, 7, 3, 100, comm="a) R 9 (b")
        process = ProcessTable(tmp_path).process(7)

        assert process is not None
        assert (3, 100, "a) R 9 (b") == (process.parent, process.started_ticks, process.comm)

    def test_a_circle(self, tmp_path: Path) -> None:
        """Parents that are read at different moments may form a circle; the search ends all the same."""
        write_process(tmp_path, 7, 8, 100)
        write_process(tmp_path, 8, 7, 101)

        found = search(ProcessTable(tmp_path), {"GPU-0": (7, 8)}).engines
        assert {7, 8} == {one.process.pid for one in found}

    def test_sockets_of_others(self, tmp_path: Path) -> None:
        """If the sockets of a server may not be read, nothing is probed, and the reason says so."""
        write_process(tmp_path, 7, 1, 100)
        (tmp_path / "7" / "fd").rmdir()
        (tmp_path / "7" / "fd").write_text("no folder at all")
        (found,) = search(ProcessTable(tmp_path), {"GPU-0": (7,)}).engines

        assert (False, ()) == (found.is_starting, found.candidates)
        assert "may not see its sockets" in found.absence


@pytest.mark.parametrize(
    ("command", "is_known", "shown"),
    [
        ("vllm serve meta/llama --api-key t0p --port 1", True, "vllm serve meta/llama"),
        ("python /opt/train.py t0p --password t0p", False, "train.py"),
        ("bash -c t0p", False, "bash"),
        ("", False, "comm"),
    ],
)
def test_shown_command(command: str, is_known: bool, shown: str, tmp_path: Path) -> None:
    """Arguments of others may hold secrets: only the program, and the words before options of an engine."""
    write_process(tmp_path, 7, 1, 100, comm="comm")
    (tmp_path / "7" / "cmdline").write_text("\0".join(command.split()))
    table = ProcessTable(tmp_path)
    process = table.process(7)
    assert process is not None

    assert shown == describe(table, process, is_known=is_known)
