"""The search for a node's power: redirects, many boards, slow services, zeros that hide a power."""

import asyncio
import json
from typing import Any

import pytest
from support.meters.redfish import (
    CHASSIS,
    NODE,
    POWER,
    chassis,
    config,
    control,
    documents,
    failure,
    read,
)
from support.servers.documents import Content, showing

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.build import build_meter
from perwatt_agent.meters.kinds.redfish import RedfishMeter
from perwatt_agent.meters.meter import MeterFailure


def many_boards(boards: int) -> dict[str, Content]:
    """A machine that shows each of its boards as a chassis, the whole of it as the last one."""
    paths = [f"{CHASSIS}/Board_{number}" for number in range(boards)]
    return {
        CHASSIS: {"Members": [{"@odata.id": path} for path in [*paths, NODE]]},
        **{path: chassis(path, machine=False) for path in paths},
        NODE: chassis(NODE, machine=True, Power=f"{NODE}/Power"),
        f"{NODE}/Power": control(PowerConsumedWatts=8_123),
    }


def moved(location: str) -> Content:
    async def redirect(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 308 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())

    return redirect


def late(document: Any, seconds: float) -> Content:
    async def say(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        body = json.dumps(document).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return say


class TestRedirects:
    async def test_final_slash(self, clock: ManualClock) -> None:
        """A service that redirects each path to the same with a final `/` is read; later without a detour."""
        given = documents("power")
        slashed: dict[str, Content] = {path: moved(f"{path}/") for path in given}
        slashed |= {f"{path}/": content for path, content in given.items()}
        async with showing(slashed, tls=True) as server:
            meter = build_meter(config(server.url), clock)
            [first] = await meter.read()
            before = len(server.asked)
            [again] = await meter.read()

        assert (413.0, 413.0) == (first.power_watts, again.power_watts)
        assert [f"{POWER}/"] == server.asked[before:]

    @pytest.mark.parametrize("location", ["{url}{path}/", "/{path}/", "{path}", "{path}/?a=b"])
    async def test_whole_url(self, clock: ManualClock, location: str) -> None:
        """A whole URL of the same host will do; another form leads elsewhere and is refused."""
        async with showing({}, tls=True) as server:
            there = location.format(url=server.url, path=POWER)
            server.documents = {POWER: moved(there), f"{POWER}/": documents("power")[POWER]}
            meter = build_meter(config(server.url, path=POWER), clock)
            if location.startswith("{url}"):
                assert [413.0] == [sample.power_watts for sample in await meter.read()]
            else:
                with pytest.raises(MeterFailure, match="HTTP 308") as caught:
                    await meter.read()
                assert ("refused", [POWER]) == (caught.value.reason, server.asked)

    async def test_other_host(self, clock: ManualClock) -> None:
        """Credentials go to no other host, port or scheme, whatever a redirect says."""
        async with showing({f"{POWER}/": documents("power")[POWER]}, tls=True) as other:
            for there in (other.url, "http://127.0.0.1", "//evil.example", "https://localhost"):
                found = await failure({POWER: moved(f"{there}{POWER}/")}, clock, path=POWER)
                assert "refused" == found.reason
            assert [] == other.asked

    async def test_only_one(self, clock: ManualClock) -> None:
        """Two paths that redirect to each other are asked once each."""
        async with showing({POWER: moved(f"{POWER}/"), f"{POWER}/": moved(POWER)}, tls=True) as server:
            with pytest.raises(MeterFailure, match="HTTP 308"):
                await build_meter(config(server.url, path=POWER), clock).read()

        assert [POWER, f"{POWER}/"] == server.asked


class TestManyBoards:
    @pytest.mark.parametrize("boards", [40, 255])
    async def test_found(self, clock: ManualClock, boards: int) -> None:
        """A machine that shows a chassis for each of many boards is read like any other."""
        assert 8_123.0 == (await read(many_boards(boards), clock)).power_watts

    async def test_pages(self, clock: ManualClock) -> None:
        """A collection in pages is read to its end: a part of the members is not all of them."""
        content = many_boards(60)
        every = content[CHASSIS]["Members"]  # type: ignore[call-overload,index]
        content[CHASSIS] = {"Members": every[:50], "Members@odata.nextLink": f"{CHASSIS}?$skip=50"}
        content[f"{CHASSIS}?$skip=50"] = {"Members": every[50:]}

        assert 8_123.0 == (await read(content, clock)).power_watts

    async def test_endless_pages(self, clock: ManualClock) -> None:
        """A page that leads back to itself ends the search."""
        content = many_boards(1)
        content[CHASSIS] = {"Members": [], "Members@odata.nextLink": CHASSIS}

        assert "at most 256 members" in str(await failure(content, clock))

    @pytest.mark.slow
    async def test_slow(self, clock: ManualClock) -> None:
        """A search longer than one read goes on in the next, and the message says what spares it."""
        content = {path: late(document, 0.15) for path, document in many_boards(30).items()}
        failures: list[str] = []
        async with showing(content, tls=True) as server:
            meter = RedfishMeter(config(server.url), clock, 10.0, deadline_seconds=2.0)
            for _ in range(60):
                try:
                    [sample] = await meter.read()
                    break
                except MeterFailure as failure:
                    failures.append(str(failure))
            asked = list(server.asked)

        assert 8_123.0 == sample.power_watts
        assert 1 <= len(failures)
        assert all("the next read goes on" in one and "`path`" in one for one in failures)
        assert len(asked) <= len(content) + len(failures) + 1

    @pytest.mark.slow
    async def test_slow_renewal(self, clock: ManualClock) -> None:
        """While the route is searched again over several reads, each of them still gives the power."""
        content = many_boards(30)
        async with showing(content, tls=True) as server:
            meter = RedfishMeter(config(server.url), clock, 10.0, deadline_seconds=2.0)
            await meter.read()
            clock.advance(301.0)
            server.documents = {path: late(document, 0.15) for path, document in content.items()}
            server.asked.clear()
            watts = []
            while set(content) - set(server.asked):
                watts.append((await meter.read())[0].power_watts)

        assert {8_123.0} == set(watts)
        assert 2 <= len(watts)

    async def test_every_message_names_the_cure(self, clock: ManualClock) -> None:
        """Whatever ends a search says that `path` spares it."""
        two = many_boards(2)
        two[f"{CHASSIS}/Board_0"] = chassis(f"{CHASSIS}/Board_0", machine=True)
        broken = {**many_boards(2), f"{CHASSIS}/Board_0": 500}
        nowhere = {**many_boards(2), f"{NODE}/Power": control(Name="x")}
        for content in (many_boards(256), two, broken, nowhere):
            assert "`path`" in str(await failure(content, clock))


ENVIRONMENT = "#EnvironmentMetrics.v1_3_0.EnvironmentMetrics"


class TestZero:
    @pytest.mark.parametrize(
        "first",
        [
            pytest.param({"PowerWatts": {"Reading": 0}}, id="zero-watts"),
            pytest.param({"PowerWatts": {"Reading": -1}}, id="negative"),
            pytest.param({"PowerWatts": {"Reading": 65535}}, id="all-bits-set"),
            pytest.param({"PowerWatts": {"Reading": 4e12}}, id="leap"),
            pytest.param({"EnergyJoules": {"Reading": 0}}, id="zero-joules"),
            pytest.param({"EnergykWh": {"Reading": 0}}, id="zero-kilowatt-hours"),
        ],
    )
    async def test_hides_no_other_document(self, clock: ManualClock, first: dict[str, Any]) -> None:
        """A document with a number that no node can have does not hide the power in the next one."""
        content = many_boards(1)
        content[NODE] = chassis(NODE, True, EnvironmentMetrics=f"{NODE}/Env", Power=f"{NODE}/Power")
        content[f"{NODE}/Env"] = {"@odata.type": ENVIRONMENT, **first}
        content[f"{NODE}/Power"] = control(PowerConsumedWatts=540)

        assert 540.0 == (await read(content, clock)).power_watts

    @pytest.mark.parametrize(
        ("document", "watts", "joules"),
        [
            pytest.param(
                {"@odata.type": ENVIRONMENT, "PowerWatts": {"Reading": 0}, "EnergyJoules": {"Reading": 7e6}},
                None,
                7e6,
                id="joules-beside-no-watts",
            ),
            pytest.param(
                {"@odata.type": ENVIRONMENT, "EnergyJoules": {"Reading": 0}, "EnergykWh": {"Reading": 2}},
                None,
                7.2e6,
                id="kilowatt-hours-beside-no-joules",
            ),
            pytest.param(
                control(
                    PowerConsumedWatts=0, PowerMetrics={"AverageConsumedWatts": 344, "IntervalInMin": 20}
                ),
                344.0,
                None,
                id="mean-beside-no-instant",
            ),
            pytest.param(
                {"@odata.type": ENVIRONMENT, "EnergykWh": {"Reading": 0}}, None, 0.0, id="counter-that-begins"
            ),
        ],
    )
    async def test_hides_no_other_quantity(
        self, clock: ManualClock, document: dict[str, Any], watts: float | None, joules: float | None
    ) -> None:
        """In one document too, a quantity at zero does not hide one that is measured."""
        sample = await read({POWER: document}, clock, path=POWER)

        assert (watts, joules) == (sample.power_watts, sample.energy_joules)

    async def test_supply_without_a_reading(self, clock: ManualClock) -> None:
        """The sentinel of one power supply is not added to the power of the others."""
        content = documents("supplies")
        path = next(path for path, one in content.items() if "InputPowerWatts" in one)
        content[path] = {**content[path], "InputPowerWatts": {"Reading": 65535}}

        assert "implausible" == (await failure(content, clock)).reason
