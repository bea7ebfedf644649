"""A number in a JSON document or at the end of a CSV file is a reading, or a failure with a reason."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.meters.sysfs_trees import nobody, open_folder
from support.servers.documents import Content, dripping, showing, silence

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.build import build_meter, build_reader
from perwatt_agent.meters.config import MeterConfig, PlaceConfig
from perwatt_agent.meters.meter import Meter, MeterFailure
from perwatt_agent.meters.reading.json_path import steps_of, value_at
from perwatt_agent.meters.reading.json_service import Service

NOW = 1_800_000_000.0


async def failure(meter: Meter) -> MeterFailure:
    with pytest.raises(MeterFailure) as caught:
        await meter.read()
    return caught.value


class TestPath:
    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("a.b[0].c", 1),
            ("list[-1]", 3),
            ("switch:0.apower", 4),
            ("nested[1][0]", 5),
            ("a", {"b": [{"c": 1}]}),
        ],
    )
    def test_leads(self, path: str, value: object) -> None:
        """Keys and indices lead to any value of a document."""
        document = {
            "a": {"b": [{"c": 1}]},
            "list": [2, 3],
            "switch:0": {"apower": 4},
            "nested": [[], [5]],
        }
        assert value == value_at(document, steps_of(path))

    @pytest.mark.parametrize("path", ["", ".a", "a.", "a..b", "a[x]", "a[0]b", "a[", "a b].c]"])
    def test_is_none(self, path: str) -> None:
        """What is no path is refused when the configuration is read."""
        with pytest.raises(ValueError, match="a path such as"):
            steps_of(path)

    @pytest.mark.parametrize("path", ["b", "a.c", "a[0]", "list[2]", "list.a", "list[-3]", "a.b.c"])
    def test_leads_nowhere(self, path: str) -> None:
        """A document that lacks a step is told by that step."""
        with pytest.raises(LookupError, match="nothing at"):
            value_at({"a": {"b": 1}, "list": [2, 3]}, steps_of(path))


class TestJson:
    def config(self, url: str, **more: Any) -> MeterConfig:
        return MeterConfig(**{"kind": "json", "url": url, "path": "p", "unit": "watts", **more})

    @pytest.mark.parametrize(
        ("value", "more", "watts", "joules"),
        [
            pytest.param(413.5, {}, 413.5, None, id="number"),
            pytest.param("413.5", {}, 413.5, None, id="text"),
            pytest.param(41, {"factor": 10.0, "unit": "kilowatts"}, 410e3, None, id="hundredths"),
            pytest.param(2.0, {"unit": "watt_hours"}, None, 7200.0, id="counter"),
        ],
    )
    async def test_value(
        self,
        clock: ManualClock,
        value: Any,
        more: dict[str, Any],
        watts: float | None,
        joules: float | None,
    ) -> None:
        """Numbers and numeric texts are multiplied by their factor and converted once."""
        async with showing({"/rpc?id=0": {"p": value}}) as server:
            meter = build_meter(self.config(f"{server.url}/rpc?id=0", source="pdu", **more), clock)
            [sample] = await meter.read()

        assert ("pdu", 1000.0, 5.0) == (sample.source, sample.monotonic_seconds, sample.period_seconds)
        assert (watts, joules) == (sample.power_watts, sample.energy_joules)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            pytest.param({"p": None}, "malformed", id="null"),
            pytest.param({"p": True}, "malformed", id="boolean"),
            pytest.param({"p": [1]}, "malformed", id="list"),
            pytest.param({"p": "12 W"}, "malformed", id="words"),
            pytest.param({"q": 1}, "malformed", id="elsewhere"),
            pytest.param(b'{"p": 1', "malformed", id="cut"),
            pytest.param({"p": "NaN"}, "implausible", id="nan"),
            pytest.param({"p": -0.5}, "implausible", id="negative"),
            pytest.param({"p": 1.1e9}, "implausible", id="leap"),
            pytest.param({"p": 65535}, "implausible", id="16-bits-set"),
            pytest.param({"p": "4294967295"}, "implausible", id="32-bits-set"),
            pytest.param(404, "absent", id="404"),
            pytest.param(401, "permission_denied", id="401"),
            pytest.param(302, "refused", id="redirect"),
        ],
    )
    async def test_failure(self, clock: ManualClock, content: Content, reason: str) -> None:
        """Anything but a plausible number is one reason, and never a reading."""
        async with showing({"/": content}) as server:
            assert reason == (await failure(build_meter(self.config(server.url), clock))).reason

    @pytest.mark.parametrize(("value", "is_reading"), [(65_535, True), (4_294_967_295, False)])
    async def test_counter_at_a_sentinel(self, clock: ManualClock, value: int, is_reading: bool) -> None:
        """A counter of kilowatt-hours may stand at 65,535 for an hour; it never gets to 2^32 - 1."""
        async with showing({"/": {"p": value}}) as server:
            meter = build_meter(self.config(server.url, unit="kilowatt_hours"), clock)
            if is_reading:
                assert [value * 3.6e6] == [sample.energy_joules for sample in await meter.read()]
            else:
                assert "implausible" == (await failure(meter)).reason

    async def test_final_slash(self, clock: ManualClock) -> None:
        """A redirect to the same path with a final `/` is followed, its query included."""

        async def moved(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 301 Moved\r\nLocation: /status/?all=1\r\nContent-Length: 0\r\n\r\n")

        async with showing({"/status?all=1": moved, "/status/?all=1": {"p": 7}}) as server:
            [sample] = await build_meter(self.config(f"{server.url}/status?all=1"), clock).read()

        assert 7.0 == sample.power_watts

    async def test_a_token_in_the_url(self, clock: ManualClock) -> None:
        """A message names the document, without the query, in which some devices want their secret."""
        async with showing({"/status": 500}) as server:
            found = await failure(build_meter(self.config(f"{server.url}/status?token=s3cret"), clock))

        assert ("refused", True) == (found.reason, "/status: HTTP 500" in str(found))
        assert "s3cret" not in str(found)

    @pytest.mark.parametrize("content", [silence, dripping])
    async def test_late(self, content: Content) -> None:
        """A service that takes too long is given up."""
        async with showing({"/": content}) as server:
            with pytest.raises(MeterFailure) as caught:
                await Service(self.config(server.url), timeout_seconds=0.5).document()

        assert "timeout" == caught.value.reason

    async def test_ends_with_the_connection(self, clock: ManualClock) -> None:
        """A small device gives no length: its document is whole if it can be read."""

        async def plain(writer: Any) -> None:
            writer.write(b'HTTP/1.0 200 OK\r\n\r\n{"p": 9}')

        async with showing({"/": plain}) as server:
            [sample] = await build_meter(self.config(server.url), clock).read()

        assert 9.0 == sample.power_watts

    async def test_bare_number(self, clock: ManualClock) -> None:
        """Who wants a price rather than a power reads the number as it stands."""
        async with showing({"/": {"p": -0.013}}) as server:
            reader = build_reader(PlaceConfig(kind="json", url=server.url, path="p"), clock)
            assert -0.013 == (await reader.read()).value


class TestCsv:
    def meter(self, file: Path, clock: ManualClock, **more: Any) -> Meter:
        return build_meter(MeterConfig(**{"kind": "csv", "file": file, **more}), clock)

    @pytest.mark.parametrize(
        ("text", "more", "watts"),
        [
            pytest.param(f"t_unix_s,watts\n1,5\n{NOW},6.5\n", {}, 6.5, id="last"),
            pytest.param(f"t_unix_s,watts\n{NOW},6.5\n{NOW + 1},7", {}, 6.5, id="last-is-being-written"),
            pytest.param(f"t_unix_s,watts\r\n{NOW},6.5\r\n\r\n", {}, 6.5, id="crlf"),
            pytest.param(f"\ufefft_unix_s;watts\n{NOW};6.5\n", {}, 6.5, id="semicolons"),
            pytest.param(
                f'name,when,"kW, all"\n"a,b",{NOW},6.5\n',
                {"time_column": "when", "path": "kW, all", "unit": "kilowatts"},
                6500.0,
                id="columns",
            ),
            pytest.param("t_unix_s,watts\n2027-01-15T08:00:00Z,6.5\n", {}, 6.5, id="utc"),
            pytest.param("t_unix_s,watts\n2027-01-15T09:30:00+01:30,6.5\n", {}, 6.5, id="zone"),
        ],
    )
    async def test_row(
        self, clock: ManualClock, tmp_path: Path, text: str, more: dict[str, Any], watts: float
    ) -> None:
        """The last whole row is the reading, at the row's own time."""
        file = tmp_path / "power.csv"
        file.write_bytes(text.encode())
        clock.advance(2.0)
        [sample] = await self.meter(file, clock, **more).read()

        assert ("csv", watts) == (sample.source, sample.power_watts)
        assert pytest.approx(clock.monotonic() - 2.0) == sample.monotonic_seconds

    async def test_grows_and_rotates(self, clock: ManualClock, tmp_path: Path) -> None:
        """Only the tail is read, and a file that was cut or is another one is read like any other."""
        file = tmp_path / "power.csv"
        meter = self.meter(file, clock)
        found = [(await failure(meter)).reason]
        file.write_text("t_unix_s,watts\n" + f"{NOW},1\n" * 100_000 + f"{NOW},2\n")
        [large] = await meter.read()
        file.rename(tmp_path / "power.csv.1")
        found.append((await failure(meter)).reason)
        file.write_text("t_unix_s,watts\n")
        found.append((await failure(meter)).reason)
        file.write_text(f"t_unix_s,watts\n{NOW + 1},3\n")
        [small] = await meter.read()

        assert ["absent", "stale", "stale"] == found
        assert [2.0, 3.0] == [large.power_watts, small.power_watts]

    @pytest.mark.parametrize(
        ("row", "reason", "message"),
        [
            pytest.param(f"{NOW - 3.5},5", "stale", "4 s old", id="old"),
            pytest.param(f"{NOW + 3600},5", "implausible", "3600 s in the future", id="future"),
            pytest.param("2027-01-15T08:00:00,5", "malformed", "has no zone", id="local-time"),
            pytest.param("noon,5", "malformed", "not 'noon'", id="no-time"),
            pytest.param("nan,5", "malformed", "not a time", id="nan-time"),
            pytest.param(f"{NOW},", "malformed", "not ''", id="empty"),
            pytest.param(f"{NOW},5,6", "malformed", "3 cells", id="cells"),
            pytest.param(f"{NOW},65535", "implausible", "does not have", id="all-bits-set"),
            pytest.param(f"{NOW},1e309", "implausible", "inf W", id="infinite"),
            pytest.param(f"{NOW},-5", "implausible", "-5 W", id="negative"),
            pytest.param("\0" * 40_000, "malformed", "cells", id="zeros"),
        ],
    )
    async def test_failure(
        self, clock: ManualClock, tmp_path: Path, row: str, reason: str, message: str
    ) -> None:
        """A row that is old, of another clock or no row at all is no reading."""
        file = tmp_path / "power.csv"
        file.write_text(f"t_unix_s,watts\n{row}\n")
        found = await failure(self.meter(file, clock))

        assert reason == found.reason
        assert message in str(found)

    async def test_no_such_column(self, clock: ManualClock, tmp_path: Path) -> None:
        """Without its head a file cannot be read, for nobody knows what its columns are."""
        file = tmp_path / "power.csv"
        file.write_text(f"{NOW},5\n{NOW},5\n")

        assert "no column 't_unix_s'" in str(await failure(self.meter(file, clock)))

    async def test_two_columns_of_one_name(self, clock: ManualClock, tmp_path: Path) -> None:
        """Of two columns with the name that is looked for, neither is chosen."""
        file = tmp_path / "power.csv"
        file.write_text(f"t_unix_s,watts,watts\n{NOW},5,6\n")

        assert "several columns 'watts'" in str(await failure(self.meter(file, clock)))

    async def test_back_in_time(self, clock: ManualClock, tmp_path: Path) -> None:
        """A row older than the one before it, by an interval or more, is refused; the next one is read."""
        file = tmp_path / "power.csv"
        meter = self.meter(file, clock)
        file.write_text(f"t_unix_s,watts\n{NOW},5\n")
        await meter.read()
        clock.advance(1.5)
        file.write_text(f"t_unix_s,watts\n{NOW - 1},900\n")
        back = await failure(meter)
        file.write_text(f"t_unix_s,watts\n{NOW + 1},7\n")
        [sample] = await meter.read()

        assert ("implausible", True) == (back.reason, "1 s older than the one before" in str(back))
        assert (7.0, 1001.0) == (sample.power_watts, sample.monotonic_seconds)

    async def test_permission(self, clock: ManualClock) -> None:
        """A file of somebody else's is told apart from none."""
        with open_folder() as folder:
            file = folder / "power.csv"
            file.write_text(f"t_unix_s,watts\n{NOW},5\n")
            file.chmod(0o400)
            meter = self.meter(file, clock)
            with nobody():
                found = await failure(meter)

        assert "permission_denied" == found.reason

    async def test_same_row_same_instant(self, clock: ManualClock, tmp_path: Path) -> None:
        """A row that is read twice is one reading, and a clock that is set back makes no earlier one."""
        file = tmp_path / "power.csv"
        file.write_text(f"t_unix_s,watts\n{NOW},5\n")
        meter = self.meter(file, clock)
        [first] = await meter.read()
        clock.advance(2.0)
        [again] = await meter.read()
        file.write_text(f"t_unix_s,watts\n{NOW - 0.5},5\n")
        [back] = await meter.read()

        assert {1000.0} == {one.monotonic_seconds for one in (first, again, back)}
