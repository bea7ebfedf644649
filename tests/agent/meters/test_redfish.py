"""A node's power is read over HTTPS from every generation of Redfish, or a failure has a reason."""

from pathlib import Path

import pytest
from support.meters.redfish import CHASSIS, NODE, POWER, config, control, documents, failure, read
from support.servers.documents import Content, dripping, flooding, showing

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.build import build_meter
from perwatt_agent.meters.kinds.redfish import RedfishMeter
from perwatt_agent.meters.meter import MeterFailure

PDU = "/redfish/v1/PowerEquipment/RackPDUs/1"


class TestReadings:
    @pytest.mark.parametrize(
        ("name", "path", "watts"),
        [
            pytest.param("environment", None, 6152.984, id="environment-metrics-of-the-whole-machine"),
            pytest.param("environment", f"{NODE}/Power", 5999.0, id="the-resource-that-is-named"),
            pytest.param("environment", "/redfish/v1/Chassis/GPU_0", 412.0, id="the-chassis-that-is-named"),
            pytest.param("supplies", None, 937.4 + 940.1 + 12.5, id="sum-of-the-supplies-that-are-there"),
            pytest.param("power", None, 413.0, id="the-older-power-resource"),
            pytest.param(
                "several_members", "/redfish/v1/Chassis/1/Power#/PowerControl/0", 712.0, id="member"
            ),
            pytest.param("pdu", f"{PDU}/Metrics", 6438.0, id="pdu"),
        ],
    )
    async def test_power(self, clock: ManualClock, name: str, path: str | None, watts: float) -> None:
        """Every generation of documents gives the node's power at this instant."""
        sample = await read(documents(name), clock, path=path)

        assert pytest.approx(watts) == sample.power_watts
        assert ("redfish", 1000.0, None) == (sample.source, sample.monotonic_seconds, sample.energy_joules)
        assert (False, 10.0, "node") == (sample.power_is_mean, sample.period_seconds, sample.scope)

    async def test_a_mean_is_no_instant(self, clock: ManualClock) -> None:
        """A mean over 20 minutes is marked as one, and not asked for before it can be a new one."""
        async with showing(documents("mean"), tls=True) as server:
            meter = build_meter(config(server.url), clock)
            [sample] = await meter.read()

        assert (344.0, True, 1200.0) == (sample.power_watts, sample.power_is_mean, sample.period_seconds)
        assert 1200.0 == meter.interval_seconds

    async def test_energy_where_there_is_no_power(self, clock: ManualClock) -> None:
        """An outlet that only counts kilowatt-hours is a counter of joules."""
        sample = await read(documents("pdu"), clock, path=f"{PDU}/Outlets/A1", source="pdu")

        assert ("pdu", None, 36.5 * 3.6e6) == (sample.source, sample.power_watts, sample.energy_joules)

    async def test_the_way_is_remembered(self, clock: ManualClock) -> None:
        """The walk is made once in five minutes and after a failure; between, one document is read."""
        number = f"{NODE}/EnvironmentMetrics"
        async with showing(documents("environment"), tls=True) as server:
            meter = build_meter(config(server.url), clock)
            await meter.read()
            walk = len(server.asked)
            await meter.read()
            again = server.asked[walk:]
            clock.advance(301.0)
            await meter.read()
            anew = len(server.asked) - walk - 1
            server.documents[number] = 503
            with pytest.raises(MeterFailure, match="HTTP 503"):
                await meter.read()
            [sample] = await meter.read()

        assert [number] == again
        assert walk == anew
        assert 5999.0 == sample.power_watts


class TestAccess:
    @pytest.mark.parametrize("text", ["reader:p:ss wörd\n", 'username: reader\npassword: "p:ss wörd"\n'])
    async def test_basic_credentials(self, clock: ManualClock, tmp_path: Path, text: str) -> None:
        """The file's user is sent as RFC 7617 says, and read anew for each request."""
        path = tmp_path / "bmc"
        path.write_text("nobody:yet")
        path.chmod(0o640)
        async with showing(documents("power"), tls=True) as server:
            server.authorization = "Basic cmVhZGVyOnA6c3Mgd8O2cmQ="
            meter = build_meter(config(server.url, credentials_file=path), clock)
            with pytest.raises(MeterFailure) as refused:
                await meter.read()
            path.write_text(text)
            [sample] = await meter.read()

        assert ("permission_denied", 413.0) == (refused.value.reason, sample.power_watts)
        assert "nobody" not in str(refused.value)

    async def test_a_secret_that_everybody_may_read(self, clock: ManualClock, tmp_path: Path) -> None:
        """Credentials that were opened to the world are not used, and the message says what cures it."""
        path = tmp_path / "bmc"
        path.write_text("reader:hunter2")
        path.chmod(0o644)

        found = await failure(documents("power"), clock, credentials_file=path)

        assert "permission_denied" == found.reason
        assert f"chmod o= {path}" in str(found)
        assert "hunter2" not in str(found)

    async def test_unknown_certificate(self, clock: ManualClock) -> None:
        """A service that the system's certificates do not vouch for gets no request at all."""
        async with showing(documents("power"), tls=True) as server:
            meter = build_meter(config(server.url, ca_file=None), clock)
            with pytest.raises(MeterFailure, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await meter.read()

        assert ("refused", []) == (caught.value.reason, server.asked)


def changed(name: str, path: str, content: Content) -> dict[str, Content]:
    return {**documents(name), path: content}


class TestFailures:
    @pytest.mark.parametrize(
        ("content", "reason", "message"),
        [
            pytest.param({}, "absent", "HTTP 404", id="no-redfish"),
            pytest.param(changed("power", POWER, 403), "permission_denied", "credentials_file", id="403"),
            pytest.param(changed("power", POWER, 500), "refused", "HTTP 500", id="500"),
            pytest.param(changed("power", POWER, b"{"), "malformed", "not a JSON document", id="garbage"),
            pytest.param(
                changed("power", POWER, b"[" * 200_000), "malformed", "not a JSON document", id="deep"
            ),
            pytest.param(changed("power", POWER, flooding), "malformed", "larger than", id="huge"),
            pytest.param(changed("power", POWER, [1]), "malformed", "not a JSON object", id="list"),
            pytest.param(
                changed("power", POWER, control(PowerConsumedWatts=-3)), "implausible", "-3 W", id="negative"
            ),
            pytest.param(
                changed("power", POWER, control(PowerConsumedWatts=0)), "implausible", "0 W", id="zero"
            ),
            pytest.param(
                changed("power", POWER, control(PowerConsumedWatts=[4])), "malformed", "list", id="type"
            ),
            pytest.param(
                changed("power", POWER, control(PowerConsumedWatts=2e12)), "implausible", "unit", id="leap"
            ),
            pytest.param(changed("power", POWER, control(Name="x")), "absent", "path", id="no-number"),
            pytest.param(
                changed(
                    "power", POWER, control(PowerMetrics={"AverageConsumedWatts": 5, "IntervalInMin": 1e9})
                ),
                "absent",
                "path",
                id="mean-of-ages",
            ),
            pytest.param(documents("several_members"), "refused", "CPU Sub-system Power", id="members"),
            pytest.param(
                changed("environment", NODE, documents("environment")[f"{CHASSIS}/GPU_0"]),
                "refused",
                "cannot choose the chassis",
                id="chassis",
            ),
            pytest.param(
                changed("power", CHASSIS, {"Members": [{"@odata.id": "https://evil.example/redfish/v1"}]}),
                "malformed",
                "another host",
                id="other-origin",
            ),
            pytest.param(
                changed("power", CHASSIS, {"Members": [{"@odata.id": f"{CHASSIS}/1"}] * 1000}),
                "malformed",
                "at most 256 members; set `path`",
                id="too-many-links",
            ),
            pytest.param(
                changed("supplies", "/redfish/v1/Chassis/1U/PowerSubsystem/PowerSupplies/Bay2", {}),
                "absent",
                "not every power supply",
                id="a-supply-that-does-not-say",
            ),
        ],
    )
    async def test_reason(
        self, clock: ManualClock, content: dict[str, Content], reason: str, message: str
    ) -> None:
        """Whatever a service lacks or gets wrong is one reason and no reading."""
        found = await failure(content, clock)

        assert reason == found.reason
        assert message in str(found)

    async def test_foreign_text(self, clock: ManualClock) -> None:
        """What a service calls its documents reaches a terminal escaped."""
        found = await failure({POWER: {"@odata.type": "#\x1b[2J\n.v1"}}, clock, path=POWER)

        assert ("refused", True) == (found.reason, r"'\x1b[2J\n'" in str(found))

    async def test_drip(self, clock: ManualClock) -> None:
        """A service that answers byte by byte costs one deadline, however often a byte comes."""
        async with showing(changed("power", POWER, dripping), tls=True) as server:
            meter = RedfishMeter(config(server.url), clock, 10.0, deadline_seconds=0.5)
            with pytest.raises(MeterFailure) as caught:
                await meter.read()

        assert "timeout" == caught.value.reason

    async def test_nobody_there(self, clock: ManualClock) -> None:
        """A BMC that is off is unreachable."""
        async with showing({}, tls=True) as server:
            url = server.url
        with pytest.raises(MeterFailure) as caught:
            await build_meter(config(url), clock).read()

        assert "unreachable" == caught.value.reason
