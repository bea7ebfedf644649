"""One sample of a Prometheus server is a reading with its real age."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.servers import prometheus
from support.servers.documents import Content, showing

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.build import build_meter
from perwatt_agent.meters.config import MeterConfig
from perwatt_agent.meters.meter import MeterFailure

NOBODY = "127.0.0.1:1"


def config(url: str, query: str, **more: Any) -> MeterConfig:
    return MeterConfig(**{"kind": "prometheus", "url": url, "query": query, "unit": "watts", **more})


async def failure(config: MeterConfig, clock: ManualClock) -> MeterFailure:
    with pytest.raises(MeterFailure) as caught:
        await build_meter(config, clock).read()
    return caught.value


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """A Prometheus with two targets that are down: `up` is 0, and scraped each second, for both."""
    with prometheus.run(tmp_path_factory.mktemp("server"), [NOBODY, "127.0.0.1:2"]) as server:
        server.wait_for("up", lambda samples: len(samples) == 2)
        yield server


@pytest.mark.slow
class TestRealServer:
    @pytest.mark.parametrize(
        ("query", "unit", "watts", "joules"),
        [
            pytest.param("sum(up) + 413.5", "watts", 413.5, None, id="computed"),
            pytest.param("vector(6.2)", "kilowatts", 6200.0, None, id="kilowatts"),
            pytest.param("scalar(vector(7))", "watts", 7.0, None, id="scalar"),
            pytest.param("12.5", "kilowatt_hours", None, 45e6, id="counter"),
            pytest.param(f'up{{instance="{NOBODY}"}} + 1 # why', "watts", 1.0, None, id="comment"),
        ],
    )
    async def test_one_value(
        self,
        server: prometheus.Prometheus,
        clock: ManualClock,
        query: str,
        unit: str,
        watts: float | None,
        joules: float | None,
    ) -> None:
        """The query's one value is converted once, whether it is a power or what a counter counted."""
        [sample] = await build_meter(config(f"{server.url}/", query, unit=unit), clock).read()

        assert ("prometheus", 30.0, watts) == (sample.source, sample.period_seconds, sample.power_watts)
        assert pytest.approx(joules) == sample.energy_joules
        assert 1000.0 == sample.monotonic_seconds

    async def test_age(self, server: prometheus.Prometheus, clock: ManualClock) -> None:
        """A plain series is stamped with the scrape that measured it, not with the evaluation."""
        query = f'up{{instance="{NOBODY}"}} offset 2s'
        await asyncio.to_thread(server.wait_for, query)
        meter = build_meter(config(server.url, query), clock)
        [sample] = await meter.read()

        assert 0.0 == sample.power_watts
        assert 2.0 <= 1000.0 - sample.monotonic_seconds < 60.0

    @pytest.mark.parametrize(
        ("query", "reason", "message"),
        [
            pytest.param(
                "up", "refused", "has 2 series, not one; filter it by labels, or sum()", id="several"
            ),
            pytest.param("nothing", "stale", "no series", id="none"),
            pytest.param("up[5m]", "refused", "'matrix'", id="range"),
            pytest.param('"text"', "refused", "'string'", id="text"),
            pytest.param("sum(up) / 0", "implausible", "nan W", id="not-a-number"),
            pytest.param("vector(-1)", "implausible", "-1 W", id="negative"),
            pytest.param("vector(1) / 0", "implausible", "inf W", id="infinite"),
            pytest.param("sum(up", "refused", "HTTP 400", id="no-promql"),
        ],
    )
    async def test_what_is_no_reading(
        self, server: prometheus.Prometheus, clock: ManualClock, query: str, reason: str, message: str
    ) -> None:
        """Anything but one finite value is refused, with what cures it."""
        found = await failure(config(server.url, query), clock)

        assert reason == found.reason
        assert message in str(found)

    async def test_not_its_api(self, server: prometheus.Prometheus, clock: ManualClock) -> None:
        """A wrong address is told apart from a wrong query."""
        assert "absent" == (await failure(config(f"{server.url}/grafana", "up"), clock)).reason


def vector(*values: Any) -> Content:
    return {"data": {"resultType": "vector", "result": [{"metric": {}, "value": value} for value in values]}}


class TestAnswers:
    async def test_lookback(self, clock: ManualClock) -> None:
        """The server is told to take nothing older than three periods, in what is computed too."""
        async with showing({"/prefix/api/v1/query": vector([1e9, "1e9"])}) as server:
            await build_meter(config(f"{server.url}/prefix/", "sum(a)", interval=20.0), clock).read()

        assert ["60s", "60s"] == [
            path.partition("lookback_delta=")[2].partition("&")[0] for path in server.asked
        ]
        assert "timestamp%28sum%28a%29%0A%29" in server.asked[1]
        assert server.asked[1].endswith("time=1000000000.000")

    @pytest.mark.parametrize(("measured", "age"), [("999999990", 10.0), ("1000000005", 0.0)])
    async def test_stamp(self, clock: ManualClock, measured: str, age: float) -> None:
        """The age is told by the server's clock alone, so that ours may be wrong by any amount."""
        async with showing({}) as server:
            meter = build_meter(config(server.url, "a"), clock)
            server.documents = _series(server.url, measured)
            [sample] = await meter.read()
            clock.advance(1.0)
            [again] = await meter.read()

        assert 1000.0 - age == sample.monotonic_seconds
        assert sample.monotonic_seconds == again.monotonic_seconds

    async def test_old(self, clock: ManualClock) -> None:
        """A sample that is older than three periods is not a reading."""
        async with showing({}) as server:
            server.documents = _series(server.url, "999999000")
            found = await failure(config(server.url, "a"), clock)

        assert ("stale", "the newest reading is 1000 s old; check its writer and `interval`") == (
            found.reason,
            str(found),
        )

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"<html>", id="page"),
            pytest.param({"data": None}, id="no-data"),
            pytest.param({"data": {"resultType": "vector", "result": [7]}}, id="no-series"),
            pytest.param({"data": {"resultType": "vector", "result": [{"histogram": []}]}}, id="histogram"),
            pytest.param(vector([1e9, "many"]), id="no-number"),
            pytest.param(vector([1e9, {}]), id="object"),
            pytest.param({"data": {"resultType": "scalar", "result": 7}}, id="no-pair"),
        ],
    )
    async def test_garbage(self, clock: ManualClock, content: Content) -> None:
        """What no Prometheus would say is malformed."""
        async with showing({"/api/v1/query": content}) as server:
            assert "malformed" == (await failure(config(server.url, "a"), clock)).reason

    async def test_part_of_the_data(self, clock: ManualClock) -> None:
        """A sum over the stores that answered is too small, so that it is none; a remark is no warning."""
        whole = {"data": {"resultType": "scalar", "result": [1e9, "5"]}}
        for partial in ({"warnings": ["store x: no answer"]}, {"isPartial": True}):
            async with showing({"/api/v1/query": {**whole, **partial}}) as server:
                found = await failure(config(server.url, "a"), clock)
            assert ("refused", True) == (found.reason, "a part of its data" in str(found))
        remark = {"warnings": ["PromQL info: metric might not be a counter"], "isPartial": False}
        async with showing({"/api/v1/query": {**whole, **remark}}) as server:
            [sample] = await build_meter(config(server.url, "a"), clock).read()

        assert 5.0 == sample.power_watts

    async def test_answer_of_a_cache(self, clock: ManualClock) -> None:
        """An answer that was evaluated once and is shown again is one reading, and at last a stale one."""
        answer = {"data": {"resultType": "scalar", "result": [1e9, "5"]}}
        async with showing({"/api/v1/query": answer}) as server:
            meter = build_meter(config(server.url, "a"), clock)
            [first] = await meter.read()
            clock.advance(90.0)
            [again] = await meter.read()
            clock.advance(1.0)
            with pytest.raises(MeterFailure, match="91 s old") as caught:
                await meter.read()

        assert ("stale", 1000.0, 1000.0) == (
            caught.value.reason,
            first.monotonic_seconds,
            again.monotonic_seconds,
        )

    @pytest.mark.parametrize("measured", ["NaN", "+Inf", "-Inf"])
    async def test_no_time(self, clock: ManualClock, measured: str) -> None:
        """A time that is no number is no age of nought."""
        async with showing({}) as server:
            server.documents = _series(server.url, measured)
            assert "malformed" == (await failure(config(server.url, "a"), clock)).reason

    async def test_sample_of_the_future(self, clock: ManualClock) -> None:
        """A sample stamped in the future stays one reading while the server's clock runs on."""
        async with showing({}) as server:
            meter = build_meter(config(server.url, "a"), clock)
            instants = []
            for evaluated in (1e9, 1e9 + 1):
                server.documents = _series(server.url, "1000000005", evaluated)
                instants.append((await meter.read())[0].monotonic_seconds)
                clock.advance(1.0)

        assert [1000.0, 1000.0] == instants

    async def test_bearer_token(self, clock: ManualClock, tmp_path: Path) -> None:
        """The token is sent with both questions."""
        path = tmp_path / "token"
        path.write_text("s3cret\n")
        path.chmod(0o600)
        async with showing({"/api/v1/query": vector([1e9, "1e9"])}) as server:
            server.authorization = "Bearer s3cret"
            [sample] = await build_meter(config(server.url, "a", bearer_token_file=path), clock).read()

        assert 1e9 == sample.power_watts


def _series(url: str, measured: str, evaluated: float = 1e9) -> dict[str, Content]:
    """A plain series of 5 W that was measured at an instant of the server's clock, and evaluated later."""
    value = "/api/v1/query?query=a&lookback_delta=90s"
    age = f"/api/v1/query?query=timestamp%28a%0A%29&lookback_delta=90s&time={evaluated:.3f}"
    return {value: vector([evaluated, "5"]), age: vector([evaluated, measured])}
