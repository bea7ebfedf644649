"""HTTP of the fleet simulator."""

import asyncio
from typing import Any

import pytest
from support.servers.asgi import ask

from perwatt.simulate.events import PlannedEvent
from perwatt.simulate.fleet import Fleet
from perwatt.simulate.plan import START_UNIX_SECONDS as START
from perwatt.simulate.plan import steady_plan
from perwatt.simulate.serving.app import FleetApp
from perwatt.simulate.serving.clock import FleetClock
from perwatt.simulate.serving.targets import targets


def app(*events: PlannedEvent, seconds: float = 120.0, manual: bool = True) -> FleetApp:
    fleet = Fleet(steady_plan(3, 8, 1, *events))
    return FleetApp(fleet, FleetClock(None if manual else lambda: START + seconds, START + seconds))


async def test_pages_of_all_nodes() -> None:
    """Each node has a page at a path of its own; others are not found."""
    one = app()

    pages = [await ask(one, f"/node/{number}/metrics") for number in range(3)]

    assert [200] * 3 == [page.status for page in pages]
    assert 3 == len({page.body for page in pages})
    assert 404 == (await ask(one, "/node/3/metrics")).status


async def test_targets_are_for_http_sd() -> None:
    """Service discovery gets the address that it used, the path and the labels of every node."""
    groups: Any = (await ask(app(), "/targets")).json()

    assert ["localhost"] == groups[2]["targets"]
    assert "/node/2/metrics" == groups[2]["labels"]["__metrics_path__"]
    assert {"__metrics_path__", "instance", "rack", "cluster", "facility"} == groups[2]["labels"].keys()


async def test_ports_of_nodes() -> None:
    """With a first port, each port is an agent of its own, and targets name the ports."""
    fleet = Fleet(steady_plan(3))
    one = FleetApp(fleet, FleetClock(None, START + 60.0), first_port=79)
    second = await ask(one, "/metrics")  # at port 80, as `ask` has it

    assert fleet.page(1, START + 60.0) == second.body
    assert ["gpu-host:2002"] == list(targets(fleet, "gpu-host:9838", 2000)[2].targets)
    assert "/metrics" == targets(fleet, "gpu-host:9838", 2000)[2].labels["__metrics_path__"]


async def test_truth() -> None:
    """The truth of a time by model, with what happened; without parameters, that of the last minute."""
    one = app(PlannedEvent(START + 90.0, "engine_restart", 0, seconds=10.0))

    answer: Any = (await ask(one, f"/truth?from={START}&to={START + 100}&by=model,facility")).json()
    last: Any = (await ask(one, "/truth")).json()

    assert all({"model", "facility"} == item["group"].keys() for item in answer["items"])
    assert ["engine_restart", "serving"] == [event["kind"] for event in answer["events"]]
    assert (START + 60.0, START + 120.0) == (last["from_unix_seconds"], last["to_unix_seconds"])
    assert answer["simulated"]


@pytest.mark.parametrize(
    "query", ["by=colour", "by=model,model", "from=x", "from=nan", "to=1", f"to={START + 200}", "until=1"]
)
async def test_parameters_that_cannot_be_used(query: str) -> None:
    """A parameter out of range or unknown is a problem that says what is allowed."""
    reply = await ask(app(), f"/truth?{query}")

    assert (422, "application/problem+json") == (reply.status, reply.headers["content-type"])


async def test_manual_clock() -> None:
    """A manual clock stands still until it is moved, and only forwards."""
    one = app()
    before = await ask(one, "/node/0/metrics")

    assert before == await ask(one, "/node/0/metrics")
    moved: Any = (await ask(one, "/clock?advance=15", "POST")).json()
    assert START + 135.0 == moved["unix_seconds"]
    assert before != await ask(one, "/node/0/metrics")
    assert 422 == (await ask(one, "/clock?advance=-1", "POST")).status
    assert 403 == (await ask(one, "/clock?advance=1", "POST", origin="http://elsewhere")).status


async def test_real_clock_is_not_moved() -> None:
    """Nobody moves the machine's clock."""
    assert 405 == (await ask(app(manual=False), "/clock?advance=15", "POST")).status


async def test_node_that_is_down() -> None:
    """A node that boots, or that cannot be reached, has no page; the others have theirs."""
    one = app(
        PlannedEvent(START + 100.0, "reboot", 0, seconds=60.0),
        PlannedEvent(START + 100.0, "unreachable", 1, seconds=60.0),
    )

    assert [503, 503, 200] == [(await ask(one, f"/node/{number}/metrics")).status for number in range(3)]


async def test_events_of_an_agent() -> None:
    """A lost GPU is on the page, counted among the events, and reported at /v1/events."""
    one = app(PlannedEvent(START + 90.0, "gpu_lost", 0, 0, 0, seconds=900.0))
    body = (await ask(one, "/node/0/metrics")).body.decode()
    lost: Any = (await ask(one, "/node/0/v1/events?limit=10")).json()
    quiet: Any = (await ask(one, "/node/1/v1/events")).json()

    assert 'perwatt_gpus{state="lost"} 1.0' in body
    assert 'perwatt_gpu_xid_errors_total{gpu="SIM-sim-0000-0",xid="79"} 1.0' in body
    assert 'perwatt_events_total{kind="gpu_state"} 1.0' in body
    assert ["health", "gpu_state", "xid"] == [event["kind"] for event in lost["items"]]
    assert [] == quiet["items"]


async def test_slow_node() -> None:
    """A slow page comes late, and holds up no other; the end of the process ends the wait."""
    fleet = Fleet(steady_plan(2, 8, 1, PlannedEvent(START + 100.0, "slow", 0, seconds=60.0, factor=3_600.0)))
    stop = asyncio.Event()
    one = FleetApp(fleet, FleetClock(None, START + 120.0), stop=stop)

    slow = asyncio.create_task(ask(one, "/node/0/metrics"))
    assert 200 == (await ask(one, "/node/1/metrics")).status
    assert not slow.done()
    stop.set()

    assert 200 == (await slow).status


async def test_frozen_node_does_not_answer() -> None:
    """A frozen page keeps its client waiting until the client leaves, and holds up no other."""
    one = app(PlannedEvent(START + 100.0, "frozen", 0, seconds=60.0))
    sent: list[Any] = []
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/node/0/metrics", "method": "GET", "headers": []}
    frozen = asyncio.create_task(one(scope, receive, send))
    assert 200 == (await ask(one, "/node/1/metrics")).status
    left.set()
    await frozen

    assert [] == sent
