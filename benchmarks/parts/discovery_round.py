"""What a round of looking for engines costs, over two hundred processes."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from support.engines import engine_trees
from support.processes.process_trees import Actor, Tree, running

from benchmarks.peers.exporters import Exporter
from benchmarks.tools.harness import Plan, spread
from benchmarks.tools.report import Section, Target, table
from perwatt_agent.discovery.process_table import Process, ProcessTable
from perwatt_agent.discovery.scanner import Scanner

PROCESSES = 200
ENGINES = 8
WORKERS = 8
ROUNDS = 40


def run(plan: Plan, exporters: Sequence[Exporter]) -> Section:
    """CPU of a round that searches all anew, and of one over an unchanged tree."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        trees = [stack.enter_context(running(folder / str(number), engine())) for number in range(ENGINES)]
        others = PROCESSES - ENGINES * (WORKERS + 3)
        stack.enter_context(running(folder / "others", bystanders(others)))
        processes = sum(entry.isdecimal() for entry in os.listdir("/proc"))  # noqa: PTH208 - as it is read
        anew, unchanged = rounds(trees)
    rows = [
        ("all searched anew, as while an engine has no page", spread(anew, 1000.0)),
        ("nothing has changed", spread(unchanged, 1000.0)),
    ]
    text = (
        f"{ENGINES} vLLM engines over {WORKERS} GPUs each, each worker with listeners of its own, among "
        f"{processes} processes of this machine; {ROUNDS} rounds of each kind, CPU time of the thread that "
        "looks.\n\n" + table(("A round", "CPU, ms"), rows)
    )
    median = sorted(anew)[len(anew) // 2]
    target = Target(f"a round of discovery over {PROCESSES} processes, CPU", 20.0, 1000 * median, "ms")
    return Section("What looking for engines costs", text, (target,))


def engine() -> Actor:
    """A vLLM over all its GPUs: its server, its core and a worker each, and Python's own helper."""
    workers = [
        Actor(f"worker-{rank}", f"VLLM::Worker_TP{rank}", engine_trees.gloo(f"worker-{rank}"))
        for rank in range(WORKERS)
    ]
    core = Actor("core", "VLLM::EngineCore", children=workers)
    command = f"/usr/bin/python /usr/bin/vllm serve m --port {{port:api}} --tensor-parallel-size {WORKERS}"
    return Actor("root", command, [engine_trees.api()], children=[engine_trees.TRACKER, core], comm="vllm")


def bystanders(count: int) -> Actor:
    children = [Actor(f"other-{number}", f"/usr/bin/other --number {number}") for number in range(count - 1)]
    return Actor("root", "/usr/bin/others", children=children)


def rounds(trees: Sequence[Tree]) -> tuple[list[float], list[float]]:
    """The CPU seconds of each round: searching anew, and over what has not changed."""
    gpu_processes = {
        f"GPU-{number}-{rank}": (tree.pid(f"worker-{rank}"),)
        for number, tree in enumerate(trees)
        for rank in range(WORKERS)
    }
    scanner = Scanner(ProcessTable())
    roots = [found.process for found in scanner.scan(gpu_processes, (), force=True).search.engines]
    assert len(roots) == len(trees), "every engine is found"
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for anew in (True, False):
            times[anew].append(_cpu_seconds(scanner, gpu_processes, roots, anew=anew))
    return times[True], times[False]


def _cpu_seconds(
    scanner: Scanner, gpu_processes: Mapping[str, tuple[int, ...]], roots: Sequence[Process], *, anew: bool
) -> float:
    before = time.thread_time()
    scanner.scan(gpu_processes, roots, force=anew)
    return time.thread_time() - before
