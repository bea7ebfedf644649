"""A job without an engine, end to end: a meter in the job, a real agent, a real aggregator."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.agent.process import Page, PerwattProcess, get, perwatt
from support.gpus.fakenvml import Constant, FakeDriver

WATTS = 400.0
TOKENS_PER_SECOND = 1000.0
RANKS = 2
WINDOW_SECONDS = 20
PATIENCE_SECONDS = 120.0

JOB = f"""
import sys, threading, time
from perwatt.work import Meter

rank, port = map(int, sys.argv[1:])
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
where = {{"rank": rank, "gpus": [rank], "url": f"http://127.0.0.1:{{port}}"}}
with Meter("train", model="llama", interval_seconds=0.5, **where) as meter:
    print("ready", flush=True)
    born = time.monotonic()
    while not over.wait(0.02):
        meter.set((time.monotonic() - born) * {TOKENS_PER_SECOND})
"""
"""Works at a constant rate until its input is closed."""


class Node:
    """An agent with three GPUs, two of which a job of two ranks holds; an aggregator; a text file."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.textfiles = folder / "textfiles"
        self.textfiles.mkdir()
        driver = stack.enter_context(FakeDriver.create(folder, gpus=3, real_time=True))
        driver.set_waveform(0, Constant(WATTS))
        driver.set_waveform(1, Constant(WATTS))
        self.uuids = [driver.uuid(gpu) for gpu in range(3)]
        agent = perwatt(
            folder,
            *("agent", "--sample-interval", "500ms", "--work.textfile-dir", str(self.textfiles)),
            environment=driver.environment(),
        )
        self.agent: PerwattProcess = stack.enter_context(agent)
        self.agent.wait_for(lambda page: page.value("perwatt_gpus", state="ok") == 3)
        source = f"--agent=http://{self.agent.address}/metrics"
        self.aggregator = stack.enter_context(
            perwatt(folder, "aggregator", "--scrape-interval", "1s", source)
        )
        self.ranks = [self._start_rank(rank, stack) for rank in range(RANKS)]
        for gpu, process in enumerate(self.ranks):
            driver.set_processes(gpu, [(process.pid, 2**30)])

    def _start_rank(self, rank: int, stack: ExitStack) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(rank), str(self.agent.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        return process

    def end_job(self) -> None:
        for rank in self.ranks:
            rank.communicate(timeout=PATIENCE_SECONDS)

    def efficiency(self, accept: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The job's figure at the boards, once it is accepted."""
        query = f"window={WINDOW_SECONDS}s&by=workload&boundary=gpu_board"
        deadline = time.monotonic() + PATIENCE_SECONDS
        answer: dict[str, Any] = {}
        while time.monotonic() < deadline:
            answer = json.loads(get(f"http://{self.aggregator.address}/v1/efficiency?{query}"))
            for item in answer["items"]:
                if item["group"]["workload"] == "train" and accept(item):
                    return dict(item)
            time.sleep(0.5)
        raise AssertionError(f"{answer}\n{self.agent.log}")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with ExitStack() as stack:
        yield Node(tmp_path_factory.mktemp("work"), stack)


def joules(page: Page) -> float:
    return sum(page.values("perwatt_workload_energy_joules_total", workload="train"))


def test_the_page(node: Node) -> None:
    """The ranks' work adds up, on their own GPUs, and advances together with their joules."""
    first = node.agent.wait_for(lambda page: joules(page) > 1000.0)
    tokens = first.value("perwatt_work_total", workload="train", unit="tokens")
    assert tokens is not None
    last = node.agent.wait_for(
        lambda page: page.value("perwatt_work_total", workload="train", unit="tokens") > tokens + 10_000.0
    )
    more = last.value("perwatt_work_total", workload="train", unit="tokens")
    assert more is not None

    assert 1 == last.value("perwatt_workload_info", workload="train", role="trainer", engine="work")
    assert pytest.approx(TOKENS_PER_SECOND / WATTS, rel=0.1) == (more - tokens) / (
        joules(last) - joules(first)
    )
    held = {uuid for uuid in node.uuids if last.values("perwatt_workload_energy_joules_total", gpu=uuid)}
    assert set(node.uuids[:RANKS]) == held
    assert [] == last.values("perwatt_output_tokens_total", workload="train")


def test_the_figure(node: Node) -> None:
    """The aggregator gives the work that a joule bought, valid, and says that it is no output tokens."""
    item = node.efficiency(lambda item: item["valid"])

    assert {"tokens"} == set(item["work"])
    assert pytest.approx(TOKENS_PER_SECOND / WATTS, rel=0.1) == item["work_per_joule"]["tokens"]
    assert pytest.approx(RANKS * WATTS, rel=0.1) == item["power_watts"]
    assert (None, True) == (item["tokens_per_joule"], "other_units" in item["reasons"])


def test_a_text_file(node: Node) -> None:
    """What a job leaves in a file is shown too; without GPUs it has no joules."""
    part = node.textfiles / "images.part"
    part.write_text('perwatt_work_total{job="thumbnails",unit="images"} 1234\n')
    part.replace(node.textfiles / "images.prom")
    page = node.agent.wait_for(lambda page: page.value("perwatt_work_total", workload="thumbnails") == 1234)

    assert [] == page.values("perwatt_workload_energy_joules_total", workload="thumbnails")
    assert 1 == page.value("perwatt_collector_success", collector="work")


def test_the_end(node: Node) -> None:
    """When the job closes its meters its GPUs are nobody's again, and what it did stays to be seen."""
    node.end_job()
    page = node.agent.wait_for(lambda page: page.value("perwatt_workload_up", workload="train") == 0)
    name, uuid = "perwatt_gpu_unattributed_energy_joules_total", node.uuids[0]
    before = sum(page.values(name, gpu=uuid))
    used = joules(page)
    after = node.agent.wait_for(lambda page: sum(page.values(name, gpu=uuid)) > before + WATTS)

    assert used == joules(after)
    assert after.value("perwatt_work_total", workload="train", unit="tokens")
