"""
One engine over two nodes, end to end with real processes: the leader's page counts the tokens of both.

The leader makes 1000 tokens/s at 400 W, the follower adds 200 W: 1.667 tokens/J together.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.agent.process import Page, PerwattProcess, free_port, get, perwatt
from support.engines.steady_engine import steady_engine
from support.gpus.fakenvml import Constant, FakeDriver

TRUTH = 1000.0 / (400.0 + 200.0)
WINDOW_SECONDS = 30
# Leader and follower are settled at instants of their own, more than a second apart on a machine at work.
TOLERANCE_RATIO = 0.1


def agent(folder: Path, stack: ExitStack, watts: float, *engine: str) -> PerwattProcess:
    """An agent on a node of its own, with one GPU."""
    folder.mkdir()
    driver = stack.enter_context(FakeDriver.create(folder, gpus=1, real_time=True))
    driver.set(0, utilization_percent=80, uuid=f"GPU-of-{folder.name}")
    driver.set_waveform(0, Constant(watts))
    intervals = ("--sample-interval", "500ms", "--engines.interval", "1s")
    process = perwatt(
        folder, "agent", *intervals, *engine, environment=driver.environment(), port=free_port()
    )
    return stack.enter_context(process)


class Fleet:
    """A leader, its follower and an aggregator over both."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        engine = stack.enter_context(steady_engine(1000.0))
        leader = f"url={engine.url},workload=chat,group=pair,role=decode"
        self.leader = agent(folder / "leader", stack, 400.0, "--engine", leader)
        self.follower = agent(folder / "follower", stack, 200.0, "--engine", "group=pair,role=prefill")
        self.leader.wait_for(lambda page: page.values("perwatt_output_tokens_total"))
        self.follower.wait_for(lambda page: page.values("perwatt_workload_energy_joules_total"))
        agents = [f"--agent=http://{one.address}/metrics" for one in (self.leader, self.follower)]
        arguments = ("aggregator", "--scrape-interval", "1s", *agents)
        self.aggregator = stack.enter_context(perwatt(folder, *arguments))
        self.aggregator.wait_for(lambda page: page.samples)

    def items(self, by: str) -> list[dict[str, Any]]:
        query = f"window={WINDOW_SECONDS}s&by={by}&boundary=gpu_board"
        items = json.loads(get(f"http://{self.aggregator.address}/v1/efficiency?{query}"))["items"]
        return list(items)

    def until_valid(self) -> dict[str, Any]:
        """Wait until the group has a valid figure; raises AssertionError with the last."""
        deadline = time.monotonic() + 120.0
        while not (item := next(iter(self.items("group")), {})).get("valid"):
            assert time.monotonic() < deadline, item
            time.sleep(1.0)
        return item


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(tmp_path_factory.mktemp("group"), stack)


def test_follower_shows_joules_and_no_tokens(fleet: Fleet) -> None:
    """A follower is called after its group, is up, says its role, and has joules alone."""
    page = fleet.follower.page()

    assert 1.0 == page.value("perwatt_workload_info", workload="pair-1", group="pair", role="prefill")
    assert 1.0 == page.value("perwatt_workload_up", workload="pair-1")
    assert [] == page.values("perwatt_output_tokens_total")
    assert _joules(page, "active") > 0.0
    assert 0.0 == _joules(page, "idle")


def test_divided_together(fleet: Fleet) -> None:
    """The group has one figure, tokens of all over joules of all; its members have none."""
    group = fleet.until_valid()
    (model,) = fleet.items("model")
    members = fleet.items("node")

    assert TRUTH == pytest.approx(group["tokens_per_joule"], rel=TOLERANCE_RATIO)
    assert 600.0 == pytest.approx(group["power_watts"], rel=TOLERANCE_RATIO)
    assert TRUTH == pytest.approx(model["tokens_per_joule"], rel=TOLERANCE_RATIO)
    assert [None, None] == [item["tokens_per_joule"] for item in members]
    assert all("shared_group" in item["reasons"] for item in members)
    assert 1.0 == group["explained_ratio"]


def _joules(page: Page, state: str) -> float:
    joules = page.value("perwatt_workload_energy_joules_total", workload="pair-1", state=state)
    assert joules is not None
    return joules
