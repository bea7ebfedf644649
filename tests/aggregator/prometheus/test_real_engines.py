"""Answers from real engines' raw samples: against an aggregator that scrapes, and against the truth."""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from support.fleet.scraped import Scraped
from support.fleet.two_modes import TwoModes, recent
from support.servers.asgi import ask
from support.servers.engines import prometheus_with, victoria_metrics_with

from perwatt.simulate.events import PlannedEvent
from perwatt.simulate.plan import FleetPlan, steady_plan
from perwatt.simulate.truth import truth
from perwatt_aggregator.api.app import create_app

pytestmark = pytest.mark.slow

Engine = Callable[[Path, Scraped], AbstractContextManager[str]]
ENGINES: dict[str, Engine] = {"prometheus": prometheus_with, "victoria-metrics": victoria_metrics_with}
STEADY_SECONDS = 600.0
WINDOW_SECONDS = 300.0
STEPS = 10


def plan_with_events() -> FleetPlan:
    """Five nodes: 300 s without events, then births, ends and restarts."""
    plan = recent(steady_plan(5), time.time())
    at = plan.start_unix_seconds + 330.0
    events = (
        PlannedEvent(at, "engine_restart", 0, 0, seconds=20.0),
        PlannedEvent(at + 20.0, "replace", 1, 0),
        PlannedEvent(at + 40.0, "reboot", 2, seconds=60.0),
        PlannedEvent(at + 80.0, "agent_restart", 3, seconds=15.0),
        PlannedEvent(at + 90.0, "replace", 4, 0),
    )
    return recent(steady_plan(5, 8, 1, *events), time.time())


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed: apt-get install {request.param}")
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def steady() -> TwoModes:
    modes = TwoModes(recent(steady_plan(5), time.time()), 15.0)
    modes.run(STEADY_SECONDS)
    return modes


@pytest.fixture(scope="module")
def url(engine: Engine, steady: TwoModes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine with the samples of the steady fleet."""
    with engine(tmp_path_factory.mktemp("engine"), steady.scraped) as running:
        yield running


async def items_of(modes: TwoModes, url: str | None, path: str) -> list[dict[str, Any]]:
    """The items of an answer from the engine at *url*, or from the aggregator that scraped."""
    aggregator = modes.embedded if url is None else modes.on(url)
    answer = await ask(create_app(aggregator), path)
    if url is not None:
        await aggregator.stop()
    assert 200 == answer.status, answer.body
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


@pytest.mark.parametrize("by", ["model", "node", "workload", "rack"])
async def test_as_scraped(steady: TwoModes, url: str, by: str) -> None:
    """Totals are those of an aggregator that scraped, within 0.1 %, and so are validity and reasons."""
    path = f"/v1/efficiency?by={by}&window=300s"
    here, there = await items_of(steady, None, path), await items_of(steady, url, path)

    assert any(item["valid"] for item in there)
    for one, other in zip(here, there, strict=True):
        for name in ("group", "boundary", "valid", "reasons"):
            assert one[name] == other[name]
        for name in ("energy_joules", "power_watts", "tokens_per_joule"):
            assert is_near(one[name], other[name]), (by, one["group"], name)
        assert is_near(one["tokens"]["output"], other["tokens"]["output"]), (by, one["group"])


def is_near(one: float | None, other: float | None) -> bool:
    """Whether two totals differ by less than 0.1 %, or are not known both."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-3)


async def test_against_the_truth(steady: TwoModes, url: str) -> None:
    """Tokens per joule of each model are the truth within 1 %."""
    items = await items_of(steady, url, "/v1/efficiency?by=model&window=300s&boundary=gpu_board")
    found = {item["group"]["model"]: item for item in items}
    now = steady.clock.unix()
    true = [
        one for one in truth(steady.fleet, now - WINDOW_SECONDS, now, ("model",)).items if one.group["model"]
    ]

    assert true
    for one in true:
        item = found[one.group["model"]]
        assert item["valid"], item["reasons"]
        expected = one.output_tokens / one.gpu_board_joules
        assert expected == pytest.approx(item["tokens_per_joule"], rel=0.01), one.group


async def test_two_aggregators(steady: TwoModes, url: str) -> None:
    """Two aggregators on one engine answer alike."""
    path = "/v1/efficiency?by=node&window=120s"

    assert await items_of(steady, url, path) == await items_of(steady, url, path)


async def test_births_ends_and_restarts(engine: Engine, tmp_path: Path) -> None:
    """A figure that is called valid is that of an aggregator that scraped, within 1 %, at any time."""
    modes = TwoModes(plan_with_events(), 15.0)
    modes.run(300.0)
    expected: dict[float, list[dict[str, Any]]] = {}
    path = "/v1/efficiency?by=workload&window=120s&boundary=gpu_board"
    for _ in range(STEPS):
        modes.run(30.0)
        expected[modes.clock.unix()] = await items_of(modes, None, path)
    valid = compared = 0
    with engine(tmp_path, modes.scraped) as url:
        for unix, here in expected.items():
            modes.clock.set_back(modes.clock.unix() - unix)
            there = {str(item["group"]): item for item in await items_of(modes, url, path)}
            for item in here:
                other = there.get(str(item["group"]))
                if other is not None and other["valid"]:
                    valid += 1
                    if item["valid"]:
                        compared += 1
                        assert item["tokens_per_joule"] == pytest.approx(other["tokens_per_joule"], rel=0.01)
                        assert item["power_watts"] == pytest.approx(other["power_watts"], rel=0.01)
                        # Beside a missing scrape, two readings may be equally near to the start.
                        if item["window"]["seconds"] == pytest.approx(other["window"]["seconds"], abs=0.01):
                            assert item["energy_joules"] == pytest.approx(other["energy_joules"], rel=0.01)

    assert compared >= 0.95 * valid > 0
