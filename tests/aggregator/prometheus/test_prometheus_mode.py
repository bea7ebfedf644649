"""Answers from a Prometheus's raw samples: those of an aggregator that scrapes, or a reason."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from support.fleet.two_modes import TwoModes
from support.servers.asgi import ask
from support.servers.fake_prometheus import FakePrometheus, matchers_of
from support.servers.web import serving

from perwatt.simulate.events import PlannedEvent
from perwatt.simulate.plan import START_UNIX_SECONDS as START
from perwatt.simulate.plan import steady_plan
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.fleet import raw_nodes
from perwatt_aggregator.fleet.raw_nodes import TooManyReadings
from perwatt_aggregator.prometheus.client import PrometheusFailed
from perwatt_aggregator.targets.config import PrometheusConfig, SourcesConfig

RUN_SECONDS = 200.0


@pytest.fixture(scope="module")
def steady() -> TwoModes:
    """Three nodes to which nothing happens."""
    modes = TwoModes(steady_plan(3, 2))
    modes.run(RUN_SECONDS)
    return modes


class Rig:
    """An aggregator on a fake Prometheus that has what *modes* scraped."""

    def __init__(self, modes: TwoModes, fake: FakePrometheus, url: str) -> None:
        self.modes = modes
        self.fake = fake
        self.url = url
        self.aggregator = modes.on(url)
        self.app = create_app(self.aggregator)

    def again(self) -> None:
        """Let the time pass in which requests share their readings."""
        self.modes.clock.advance(1.001)

    def on(self, config: PrometheusConfig) -> Aggregator:
        before = self.aggregator
        sources = SourcesConfig(prometheus=config)
        self.aggregator = Aggregator(replace(before._config, sources=sources), self.modes.clock)
        self.app = create_app(self.aggregator)
        return before


@asynccontextmanager
async def rig_of(modes: TwoModes) -> AsyncIterator[Rig]:
    fake = FakePrometheus(modes.scraped)
    async with serving(fake) as port:
        rig = Rig(modes, fake, f"http://127.0.0.1:{port}")
        try:
            yield rig
        finally:
            await rig.aggregator.stop()


async def test_same_answers(steady: TwoModes) -> None:
    """Every answer is that of an aggregator that scraped the same nodes at the same instants."""
    embedded = create_app(steady.embedded)
    async with rig_of(steady) as rig:
        for path in (
            "/v1/efficiency?by=model",
            "/v1/efficiency?by=node,workload&window=120s",
            "/v1/efficiency?rack=rack-000&by=rack",
            "/v1/efficiency?node=sim-0001",
            "/v1/ledger",
            "/v1/compute",
            "/v1/capacity?kw=10",
            "/v1/gpus",
            "/v1/workloads",
            "/v1/facility",
        ):
            here, there = await ask(embedded, path), await ask(rig.app, path)

            assert 200 == there.status, there.body
            expected = [without_source(item) for item in here.json()["items"]]
            assert_near(expected, [without_source(item) for item in there.json()["items"]], path)
            assert {"prometheus:raw"} == {item["source"] for item in there.json()["items"]}, path


def without_source(item: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in item.items() if name != "source"}


def assert_near(one: object, other: object, path: str) -> None:
    """Equal but for rounding."""
    if isinstance(one, dict):
        assert isinstance(other, dict), path
        assert one.keys() == other.keys(), path
        for name, value in one.items():
            assert_near(value, other[name], f"{path}.{name}")
    elif isinstance(one, list):
        assert isinstance(other, list), path
        assert len(one) == len(other), path
        for place, value in enumerate(one):
            assert_near(value, other[place], f"{path}[{place}]")
    elif isinstance(one, float) and isinstance(other, (int, float)):
        assert math.isclose(one, other, rel_tol=1e-6, abs_tol=2e-3), (path, one, other)
    else:
        assert one == other, path


async def test_nodes_and_their_labels(steady: TwoModes) -> None:
    """/v1/nodes names nodes by `instance`, with the labels of their targets."""
    async with rig_of(steady) as rig:
        items = (await ask(rig.app, "/v1/nodes")).json()["items"]

    assert ["sim-0000", "sim-0001", "sim-0002"] == [item["node"] for item in items]
    assert ("rack-000", True, None) == (items[0]["labels"]["rack"], items[0]["up"], items[0]["failure"])


async def test_what_is_asked(steady: TwoModes) -> None:
    """Queries are POSTs with the tenant's header, the selector, no partial answers, and needed nodes only."""
    async with rig_of(steady) as rig:
        await rig.on(
            PrometheusConfig(
                url=f"{rig.url}/prometheus/", selector='{rack=~"r.*"}', headers={"X-Scope-OrgID": "a"}
            )
        ).stop()
        assert 200 == (await ask(rig.app, "/v1/efficiency?node=sim-0001")).status

        assert {"/prometheus/api/v1/query"} == set(rig.fake.paths)
        assert {"a"} == {headers["x-scope-orgid"] for headers in rig.fake.headers}
        assert {"false"} == {one["partial_response"] for one in rig.fake.requests}
        assert all('rack=~"r.*"' in one["query"] for one in rig.fake.requests)
        assert 'instance=~"sim-0001"' in rig.fake.requests[-1]["query"]


async def test_only_the_nodes_of_a_workload(steady: TwoModes) -> None:
    """For one workload, only the readings of its node are fetched."""
    workload = next(iter(steady.embedded.nodes[2].sample.workloads))  # type: ignore[union-attr]
    async with rig_of(steady) as rig:
        fleet = await rig.aggregator.over(60.0, {"workload": frozenset((workload,))})

        assert ["sim-0002"] == [node.target.node for node in fleet.nodes]


async def test_warnings_are_a_reason(steady: TwoModes) -> None:
    """A figure under a warning, or from a partial answer, is not valid and says so."""
    async with rig_of(steady) as rig:
        for extra in ({"warnings": ["store gateway down"]}, {"isPartial": True}):
            rig.again()
            rig.fake.extra = extra
            for item in (await ask(rig.app, "/v1/efficiency")).json()["items"]:
                assert (False, True) == (item["valid"], "source_warning" in item["reasons"])


async def test_too_few_readings() -> None:
    """A window of less than four scrapes is not valid."""
    modes = TwoModes(steady_plan(1, 2), 30.0)
    modes.run(600.0)
    async with rig_of(modes) as rig:
        item = (await ask(rig.app, "/v1/efficiency?window=60s&boundary=gpu_board")).json()["items"][0]

    assert (False, True) == (item["valid"], "too_few_readings" in item["reasons"])


class TestMissing:
    """What is missing is known to be missing."""

    async def test_a_node_that_is_down(self, steady: TwoModes) -> None:
        """A target without a good scrape makes figures of the fleet not valid, not those of another node."""
        steady_down = TwoModes(steady_plan(2, 2))
        steady_down.run(RUN_SECONDS)
        for unix in (steady_down.clock.unix() - 30.0, steady_down.clock.unix() - 1.0):
            steady_down.scraped.scrape("sim-0009", unix, None)
        async with rig_of(steady_down) as rig:
            whole = (await ask(rig.app, "/v1/efficiency")).json()["items"][0]
            good = (await ask(rig.app, "/v1/efficiency?node=sim-0001")).json()["items"][0]
            nodes = (await ask(rig.app, "/v1/nodes")).json()["items"]

        assert (False, True) == (whole["valid"], "node_never_seen" in whole["reasons"])
        assert good["valid"], good["reasons"]
        assert (False, "scrape_failed") == (nodes[2]["up"], nodes[2]["failure"])

    async def test_scrapes_that_stop(self, steady: TwoModes) -> None:
        """If the engine scrapes no more, figures become stale and then not valid."""
        modes = TwoModes(steady_plan(1, 2))
        modes.run(RUN_SECONDS)
        modes.clock.advance(40.0)
        async with rig_of(modes) as rig:
            item = (await ask(rig.app, "/v1/efficiency")).json()["items"][0]

        assert (False, True) == (item["valid"], "stale" in item["reasons"])

    async def test_an_engine_without_up(self, steady: TwoModes) -> None:
        """Without `up`, nobody knows which targets are missing."""
        modes = TwoModes(steady_plan(1, 2))
        modes.run(RUN_SECONDS)
        modes.scraped.series = {key: one for key, one in modes.scraped.series.items() if key[0] != "up"}
        async with rig_of(modes) as rig:
            item = (await ask(rig.app, "/v1/efficiency")).json()["items"][0]

        assert "targets_unknown" in item["reasons"]


async def test_restarts_and_births() -> None:
    """Over restarts, births and ends, answers are those of an aggregator that scraped, reasons included."""
    events = (
        PlannedEvent(START + 200.0, "engine_restart", 0, 0, seconds=20.0),
        PlannedEvent(START + 220.0, "replace", 1, 0),
        PlannedEvent(START + 240.0, "reboot", 2, seconds=60.0),
        PlannedEvent(START + 280.0, "agent_restart", 3, seconds=15.0),
    )
    modes = TwoModes(steady_plan(4, 2, 1, *events))
    modes.run(180.0)
    embedded = create_app(modes.embedded)
    async with rig_of(modes) as rig:
        for _ in range(6):
            modes.run(30.0)
            path = "/v1/efficiency?by=workload&window=60s&boundary=gpu_board"
            here, there = await ask(embedded, path), await ask(rig.app, path)
            assert_near(valid(here.json()["items"]), valid(there.json()["items"]), path)


def valid(items: list[dict[str, Any]]) -> dict[str, float]:
    """Tokens per joule by workload, of the valid items."""
    return {str(one["group"]): one["tokens_per_joule"] for one in items if one["valid"]}


NASTY = ('a"} or up{x="', "\\", '\\"', ".*", "a|b", "}[1d]", "a\nb", "'); drop", "{__name__=~'.+'}")


@pytest.mark.slow
async def test_injection() -> None:
    """No parameter leaves its string: queries keep their form and their labels, and nothing else matches."""
    modes = TwoModes(steady_plan(1, 1))
    modes.run(60.0)
    async with rig_of(modes) as rig:
        document = (await ask(rig.app, "/openapi.json")).json()
        parameters = {
            (path, one["name"])
            for path, operations in document["paths"].items()
            if path.startswith("/v1/")
            for one in operations["get"].get("parameters", ())
        }
        for path, name in sorted(parameters):
            for value in NASTY if name == "workload" else NASTY[:1]:
                rig.again()
                answer = await ask(rig.app, f"{path}?{name}={percent(value)}")
                # This mode keeps no history, whatever is asked of it.
                answered = (422, 503) if path == "/v1/history" else (200, 422)
                assert answer.status in answered, (path, name, value, answer.body)
                if name == "workload" and path in ("/v1/efficiency", "/v1/workloads"):
                    assert [] == answer.json()["items"]

        for one in rig.fake.requests:
            labels = {label for label, _, _ in matchers_of(one["query"])}
            assert labels <= {"__name__", "instance", "workload", "group", "job"}, one["query"]


def percent(value: str) -> str:
    return "".join(f"%{byte:02X}" for byte in value.encode())


async def test_nasty_names_of_nodes() -> None:
    """An instance with quotes and operators is one instance."""
    modes = TwoModes(steady_plan(2, 2))
    modes.run(RUN_SECONDS)
    name = 'a"} or up{x=".*'
    modes.scraped.series = {
        (metric, tuple((label, name if value == "sim-0001" else value) for label, value in labels)): samples
        for (metric, labels), samples in modes.scraped.series.items()
    }
    async with rig_of(modes) as rig:
        item = (await ask(rig.app, f"/v1/efficiency?node={percent(name)}")).json()["items"][0]

    assert item["valid"], item["reasons"]


def error(status: int, kind: str, message: str) -> Callable[[str], tuple[int, bytes]]:
    body = json.dumps({"status": "error", "errorType": kind, "error": message}).encode()
    return lambda _: (status, body)


BAD_SAMPLE = (
    b'{"status":"success","data":{"resultType":"matrix","result":'
    b'[{"metric":{"__name__":"up","instance":"a"},"values":[[1.0,"x"]]}]}}'
)


class TestFailures:
    """A server that fails gives status 503 with the setting, and answers return by themselves."""

    @pytest.mark.parametrize(
        ("reply", "expected"),
        [
            (lambda _: (200, b"<html>"), "no answer of the API"),
            (lambda _: (502, b"<html>"), "status 502"),
            (lambda _: (404, b"not found"), "check the prefix"),
            (lambda _: (401, b"{}"), "configure its credentials"),
            (lambda _: (302, b""), "redirect"),
            (
                lambda _: (200, b'{"status":"success","data":{"resultType":"vector","result":[]}}'),
                "raw samples",
            ),
            (lambda _: (200, BAD_SAMPLE), "no number"),
            (error(503, "timeout", "query timed out"), "query timed out"),
        ],
    )
    async def test_bad_answers(
        self, steady: TwoModes, reply: Callable[[str], tuple[int, bytes]], expected: str
    ) -> None:
        async with rig_of(steady) as rig:
            rig.fake.reply = reply
            failed = await ask(rig.app, "/v1/efficiency")
            rig.fake.reply = None
            good = await ask(rig.app, "/v1/efficiency")

        assert (503, "application/problem+json") == (failed.status, failed.headers["content-type"])
        assert "sources.prometheus.url" in failed.json()["detail"]
        assert expected in failed.json()["detail"]
        assert 200 == good.status

    async def test_nobody_listens(self, steady: TwoModes) -> None:
        """A server that is down gives 503 too, and the process stays ready."""
        async with serving(FakePrometheus(steady.scraped)) as port:
            pass
        aggregator = steady.on(f"http://127.0.0.1:{port}")
        app = create_app(aggregator)

        assert (503, 200) == ((await ask(app, "/v1/nodes")).status, (await ask(app, "/-/ready")).status)
        assert 200 == (await ask(app, "/metrics")).status
        await aggregator.stop()

    async def test_too_slow(self, steady: TwoModes) -> None:
        """A server that is slower than the timeout is given up, whatever waits."""

        async def never(scope: object, receive: object, send: object) -> None:
            await asyncio.sleep(5.0)

        async with serving(never) as port:
            aggregator = steady.on(f"http://127.0.0.1:{port}", timeout=0.2)
            with pytest.raises(PrometheusFailed, match=r"sources\.prometheus\.timeout"):
                await aggregator.over(60.0)
            await aggregator.stop()

    async def test_too_many_samples(self, steady: TwoModes) -> None:
        """What the engine refuses to read is the parameter's fault, and the range is said."""
        async with rig_of(steady) as rig:
            rig.fake.reply = error(
                422, "execution", "query processing would load too many samples into memory"
            )
            answer = await ask(rig.app, "/v1/efficiency?window=10m")

        assert (422, True) == (answer.status, "shorter window than 600 s" in answer.json()["detail"])


async def test_too_many_readings(steady: TwoModes) -> None:
    """A window of more readings than one request may read names the window that is possible."""
    modes = TwoModes(steady_plan(1, 2))
    for number in range(200):
        name, labels = f"sim-{number:04}", {"rack": "a"}
        for step in range(60):
            modes.scraped.scrape(name, modes.clock.unix() - step, None, labels)
    async with rig_of(modes) as rig:
        with pytest.raises(TooManyReadings, match=f"200 nodes .* at most {raw_nodes.MAX_READINGS}"):
            await rig.aggregator.over(60.0)
        assert 1 == len((await rig.aggregator.over(60.0, {"node": frozenset(("sim-0001",))})).nodes)


async def test_all_members_of_an_engine() -> None:
    """For one member of an engine over several nodes, its other members are read too: they are one figure."""
    modes = TwoModes(steady_plan(2, 1))
    modes.run(RUN_SECONDS)
    modes.scraped.series = {
        (name, (*labels, ("group", "g")) if name == "perwatt_workload_info" else labels): samples
        for (name, labels), samples in modes.scraped.series.items()
    }
    async with rig_of(modes) as rig:
        item = (await ask(rig.app, "/v1/efficiency?node=sim-0000&boundary=gpu_board")).json()["items"][0]

    assert (None, True) == (item["tokens_per_joule"], "shared_group" in item["reasons"])


async def test_markers_end_series() -> None:
    """An engine that shows the markers of ended series gives the same answer as one that hides them."""
    modes = TwoModes(steady_plan(1, 2, 1, PlannedEvent(START + 100.0, "replace", 0, 0)))
    modes.run(RUN_SECONDS)
    path = "/v1/efficiency?by=workload&window=180s"
    async with rig_of(modes) as rig:
        hidden = await ask(rig.app, path)
        rig.again()
        rig.fake.shows_markers = True
        shown = await ask(rig.app, path)

    assert [without_age(item) for item in hidden.json()["items"]] == [
        without_age(item) for item in shown.json()["items"]
    ]


def without_age(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "age_seconds"}


class TestSharing:
    """Requests at once share what they read; nothing is kept."""

    async def test_at_once(self, steady: TwoModes) -> None:
        """A hundred clients with one question cost the engine one."""
        async with rig_of(steady) as rig:
            await ask(rig.app, "/v1/efficiency")
            once = len(rig.fake.requests)
            rig.again()
            await asyncio.gather(*(ask(rig.app, "/v1/efficiency?by=model") for _ in range(100)))

            assert 2 * once == len(rig.fake.requests)

    async def test_two_aggregators(self, steady: TwoModes) -> None:
        """Two aggregators on one engine answer alike, whatever one was asked before."""
        async with rig_of(steady) as rig:
            await ask(rig.app, "/v1/gpus?window=30s")
            other = steady.on(rig.url)
            path = "/v1/efficiency?by=node&window=120s"
            assert (await ask(rig.app, path)).body == (await ask(create_app(other), path)).body
            await other.stop()
