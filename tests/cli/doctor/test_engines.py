"""`perwatt doctor` shows the engine on each GPU, and why its page is read or not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.accounts.readings import info
from support.engines import engine_trees
from support.processes.process_trees import NOTHING, Actor, Tree, running, write_process

from perwatt.doctor.engines import check_discovery_access, check_engines, check_visibility
from perwatt.doctor.finding import Finding
from perwatt_agent.discovery.configured import ConfiguredEndpoints

GPUS = (info(0), info(1))
FIRST, OTHER = "pid:[4026531836]", "pid:[4026532448]"
Configure = Callable[[Tree], ConfiguredEndpoints]


def free(tree: Tree) -> ConfiguredEndpoints:
    return ConfiguredEndpoints()


def has_the_page(tree: Tree) -> ConfiguredEndpoints:
    return ConfiguredEndpoints(ports=frozenset({tree.port("api")}))


@pytest.mark.parametrize(
    ("actor", "listens", "configure", "status", "says"),
    [
        pytest.param(engine_trees.vllm(), True, free, "ok", "/metrics is read", id="taken"),
        pytest.param(
            engine_trees.vllm(), True, has_the_page, "ok", "its page is configured", id="configured"
        ),
        pytest.param(engine_trees.vllm(), False, free, "hint", "does not listen on port", id="loading"),
        pytest.param(engine_trees.vllm(NOTHING), True, free, "missing", "not read, http://", id="refused"),
    ],
)
def test_engine(
    tmp_path: Path, actor: Actor, listens: bool, configure: Configure, status: str, says: str
) -> None:
    """An engine's finding has its GPUs, its processes, its socket, and the state of its page."""
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
    """A process that computes and is not an engine has a hint, and receives no request."""
    with running(tmp_path, engine_trees.torchrun()) as tree:
        (finding,) = check_engines(GPUS, {"GPU-1": (tree.pid("rank-0"),)}, ConfiguredEndpoints())

        assert ("hint", "GPU 1") == (finding.status, finding.subject)
        assert f"train.py (process {tree.pid('rank-0')}): not a known engine" in finding.detail
        assert "" == tree.log.read_text()


def test_nobody(tmp_path: Path) -> None:
    """Without computing processes there are no findings; an unreadable process table is one."""
    assert [] == list(check_engines(GPUS, {"GPU-0": ()}, ConfiguredEndpoints()))
    (finding,) = check_engines(GPUS, {"GPU-0": (1,)}, ConfiguredEndpoints(), tmp_path / "absent")
    assert isinstance(finding, Finding)
    assert "missing" == finding.status


def test_sockets_of_others(tmp_path: Path) -> None:
    """Where the owners of sockets are not visible, a hint names the capabilities that fix it."""
    write_process(tmp_path, 1, 0, 1)
    assert "ok" == check_discovery_access(tmp_path).status

    (tmp_path / "1" / "fd").rmdir()
    (tmp_path / "1" / "fd").touch()  # a folder that root cannot list either
    (tmp_path / "net").mkdir()
    access = check_discovery_access(tmp_path)
    assert "hint" == access.status
    assert "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE" in access.fix
    (engine,) = check_engines(GPUS, {"GPU-0": (1,)}, ConfiguredEndpoints(), tmp_path)
    assert ("missing", "GPU 0") == (engine.status, engine.subject)
    assert "not read, perwatt may not see its sockets" in engine.detail
    assert access.fix in engine.fix


@pytest.mark.parametrize(
    ("namespace", "sees_all", "processes", "unlisted", "subjects"),
    [
        pytest.param(FIRST, False, {"GPU-0": (2,), "GPU-1": (9,)}, (), ["GPU 1"], id="hidepid"),
        pytest.param(FIRST, False, {"GPU-0": (2,), "GPU-1": ()}, ("GPU-1",), [], id="all visible"),
        pytest.param(FIRST, True, {"GPU-0": (2,), "GPU-1": (9,)}, (), [], id="one that has ended"),
        pytest.param(OTHER, True, {"GPU-0": (), "GPU-1": ()}, ("GPU-0",), ["GPU 0"], id="namespace"),
    ],
)
def test_hidden_processes(
    tmp_path: Path,
    namespace: str,
    sees_all: bool,
    processes: dict[str, tuple[int, ...]],
    unlisted: tuple[str, ...],
    subjects: list[str],
) -> None:
    """A GPU whose processes are hidden is a finding of its own, with what to change."""
    for pid in (1, 2) if sees_all else (2,):
        write_process(tmp_path, pid, 0, 1)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(namespace)

    findings = list(check_visibility(GPUS, processes, unlisted, tmp_path))
    assert [("missing", subject) for subject in subjects] == [(one.status, one.subject) for one in findings]
    assert all(one.fix for one in findings)
