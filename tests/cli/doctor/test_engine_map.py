"""`perwatt doctor` shows which GPU computes for which engine, and why each page is read or not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.accounts.readings import info
from support.engines import engine_trees
from support.processes.process_trees import NOTHING, Actor, Tree, running, write_process

from perwatt.doctor.engine_map import check_engines, check_sight
from perwatt.findings import Finding
from perwatt_agent.discovery.configured import Configured

GPUS = (info(0), info(1))
Configure = Callable[[Tree], Configured]


def free(tree: Tree) -> Configured:
    return Configured()


def has_the_page(tree: Tree) -> Configured:
    return Configured(ports=frozenset({tree.port("api")}))


@pytest.mark.parametrize(
    ("actor", "listens", "configure", "status", "says"),
    [
        pytest.param(engine_trees.vllm(), True, free, "ok", "/metrics is read", id="taken"),
        pytest.param(
            engine_trees.vllm(), True, has_the_page, "ok", "its page is configured", id="configured"
        ),
        pytest.param(engine_trees.vllm(), False, free, "hint", "does not listen on port", id="loading"),
        pytest.param(engine_trees.vllm(NOTHING), True, free, "missing", "refused, http://", id="refused"),
    ],
)
def test_engine(
    tmp_path: Path, actor: Actor, listens: bool, configure: Configure, status: str, says: str
) -> None:
    """An engine is told with its GPUs, its processes, its socket, and what becomes of it."""
    with running(tmp_path, actor, listens=listens) as tree:
        processes = {"GPU-0": (tree.pid("worker"),), "GPU-1": (tree.pid("core"),)}
        (finding,) = check_engines(GPUS, processes, configure(tree))

        assert (status, "GPU 0+1") == (finding.status, finding.subject)
        assert (
            f"(process {tree.pid('root')}, computing in {tree.pid('core')}, {tree.pid('worker')})"
            in finding.detail
        )
        assert says in finding.detail
        assert (f" at 127.0.0.1:{tree.port('api')}:" in finding.detail) == listens


def test_strangers(tmp_path: Path) -> None:
    """What computes and is no engine is told too, and hears nothing."""
    with running(tmp_path, engine_trees.torchrun()) as tree:
        (finding,) = check_engines(GPUS, {"GPU-1": (tree.pid("rank-0"),)}, Configured())

        assert ("hint", "GPU 1") == (finding.status, finding.subject)
        assert f"train.py --port 8000 (process {tree.pid('rank-0')}): refused" in finding.detail
        assert "" == tree.log.read_text()


def test_nobody(tmp_path: Path) -> None:
    """Where nothing computes there is nothing to tell; where processes cannot be seen, that is told."""
    assert [] == list(check_engines(GPUS, {"GPU-0": ()}, Configured()))
    (finding,) = check_engines(GPUS, {"GPU-0": (1,)}, Configured(), tmp_path / "absent")
    assert isinstance(finding, Finding)
    assert "missing" == finding.status


def test_sockets_of_others(tmp_path: Path) -> None:
    """Where the owners of sockets cannot be seen, that is told, with the capabilities that cure it."""
    write_process(tmp_path, 1, 0, 1)
    assert "ok" == check_sight(tmp_path).status

    (tmp_path / "1" / "fd").rmdir()
    (tmp_path / "1" / "fd").touch()  # a folder that root cannot list either
    (tmp_path / "net").mkdir()
    sight = check_sight(tmp_path)
    assert "hint" == sight.status
    assert "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE" in sight.cure
    (engine,) = check_engines(GPUS, {"GPU-0": (1,)}, Configured(), tmp_path)
    assert ("missing", "GPU 0") == (engine.status, engine.subject)
    assert "refused, its sockets are not ours to see" in engine.detail
    assert sight.cure in engine.cure
