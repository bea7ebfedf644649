"""Sources of targets: files, URLs and names as they change and fail; the last good list stays."""

import json
from pathlib import Path

import pytest
from support.servers.web import serving

from perwatt_agent.clock import ManualClock
from perwatt_aggregator.targets.config import DnsSdConfig, FileSdConfig, HttpSdConfig, SourcesConfig
from perwatt_aggregator.targets.discovery import Discovery
from perwatt_aggregator.targets.dns_sd import DnsTargets
from perwatt_aggregator.targets.file_sd import FileTargets
from perwatt_aggregator.targets.source import TargetReader, TargetSource


def source(reader: TargetReader) -> TargetSource:
    return TargetSource(reader, ManualClock())


def urls(one: TargetSource) -> list[str]:
    return [target.url.removeprefix("http://").removesuffix("/metrics") for target in one.targets]


def files(pattern: Path) -> TargetSource:
    return source(FileTargets(FileSdConfig(str(pattern)), "sources.file_sd[0]"))


class TestFiles:
    async def test_followed_as_they_change(self, tmp_path: Path) -> None:
        """A change counts once the file is at rest; a new file and a deleted one are followed alike."""
        (tmp_path / "a.yaml").write_text("- targets: ['a:1']\n")
        one = files(tmp_path / "*")
        await one.refresh()
        assert ["a:1"] == urls(one)

        (tmp_path / "a.yaml").write_text("- targets: ['a:1', 'a:2']\n")
        (tmp_path / "b.json").write_text('[{"targets": ["b:1"]}]')
        assert not await one.refresh()
        assert await one.refresh()
        assert ["a:1", "a:2", "b:1"] == urls(one)

        (tmp_path / "a.yaml").unlink()
        await one.refresh()
        assert ["a:1", "a:2", "b:1"] == urls(one)
        await one.refresh()
        assert (["b:1"], None) == (urls(one), one.failure)

    async def test_cut_in_mid_write(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A file that is no list keeps the last good one, and is logged once, by its setting."""
        path = tmp_path / "a.yaml"
        path.write_text("- targets: ['a:1', 'a:2']\n")
        one = files(path)
        await one.refresh()
        path.write_text("- targets: ['a:1', 'a:")
        for _ in range(5):
            await one.refresh()

        assert ["a:1", "a:2"] == urls(one)
        assert (True, False) == (one.is_known, one.is_up)
        assert 1 == caplog.text.count("sources.file_sd[0] cannot be read")
        assert str(path) in (one.failure or "")

        path.write_text("- targets: ['a:3']\n")
        for _ in range(2):
            await one.refresh()
        assert (["a:3"], True) == (urls(one), one.is_up)

    async def test_a_writer_in_progress_is_left_alone(self, tmp_path: Path) -> None:
        """The first lines of a longer YAML list are a list too: while a file grows, it is not read."""
        path = tmp_path / "a.yaml"
        path.write_text("- targets: ['a:1']\n- targets: ['a:2']\n")
        one = files(path)
        await one.refresh()
        path.write_text("- targets: ['a:1']\n")
        await one.refresh()
        path.write_text("- targets: ['a:1']\n- targets: ['a:3']\n")
        await one.refresh()
        assert ["a:1", "a:2"] == urls(one)
        await one.refresh()
        assert ["a:1", "a:3"] == urls(one)

    async def test_one_bad_file_of_several(self, tmp_path: Path) -> None:
        """It stops no other; until it was read once, not all targets are known."""
        (tmp_path / "a.yaml").write_text("- targets: ['a:1']\n")
        (tmp_path / "b.yaml").write_text("no list")
        one = files(tmp_path / "*.yaml")
        await one.refresh()
        assert (["a:1"], False) == (urls(one), one.is_known)

        (tmp_path / "b.yaml").write_text("- targets: ['b:1']\n")
        for _ in range(2):
            await one.refresh()
        assert (["a:1", "b:1"], True) == (urls(one), one.is_known)

    async def test_a_named_file_that_is_deleted(self, tmp_path: Path) -> None:
        """A file that the configuration names is missing, not empty: its targets stay."""
        path = tmp_path / "a.yaml"
        path.write_text("- targets: ['a:1']\n")
        one = files(path)
        await one.refresh()
        path.unlink()
        for _ in range(3):
            await one.refresh()

        assert (["a:1"], False) == (urls(one), one.is_up)


class TestHttp:
    async def test_last_good_answer_stays(self) -> None:
        """HTTP 500, a cut answer and another document change nothing; the next good list does."""
        answers: list[tuple[int, bytes]] = []

        async def app(scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
            status, body = answers.pop(0)
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

        async with serving(app) as port:
            config = HttpSdConfig(f"http://127.0.0.1:{port}/targets")
            (one,) = Discovery(SourcesConfig(http_sd=(config,)), ManualClock(), lambda: None).sources
            answers[:] = [(500, b"")]
            await one.refresh()
            assert ([], False, False) == (urls(one), one.is_known, one.is_up)
            answers[:] = [(200, b'[{"targets": ["a:1"]}]'), (500, b"oops"), (200, b'[{"targ'), (200, b"{}")]
            for _ in range(4):
                await one.refresh()
                assert ["a:1"] == urls(one)
            assert (True, False, 4) == (one.is_known, one.is_up, one.failures)
            answers[:] = [(200, json.dumps([{"targets": ["b:1"]}]).encode())]
            await one.refresh()
            assert (["b:1"], True) == (urls(one), one.is_up)


class TestDns:
    async def test_an_address_each(self) -> None:
        """Each address of the name is a target, IPv6 in brackets; none at all is a failure."""
        found = ["10.0.0.2", "10.0.0.1", "fd00::1", "10.0.0.1"]

        async def lookup(name: str, family: int) -> list[str]:
            return found

        one = source(DnsTargets(DnsSdConfig("agents", "1"), "sources.dns_sd[0]", lookup))
        await one.refresh()
        assert ["10.0.0.1:1", "10.0.0.2:1", "[fd00::1]:1"] == urls(one)

        found = []
        await one.refresh()
        assert (3, "agents: it has no address; check the name") == (len(one.targets), one.failure)

    async def test_the_systems_resolver(self) -> None:
        """A real look-up: this machine, and a name that cannot exist."""
        config = SourcesConfig(dns_sd=(DnsSdConfig("localhost", type="A"), DnsSdConfig("a.invalid")))
        good, bad = Discovery(config, ManualClock(), lambda: None).sources
        for one in (good, bad):
            await one.refresh()

        assert ["127.0.0.1:9836"] == urls(good)
        assert (False, False) == (bad.is_known, bad.is_up)


async def test_a_reload_keeps_what_stays(tmp_path: Path) -> None:
    """A source that the new configuration still has keeps its list; a new one is read before it counts."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"- targets: ['{name}:1']\n")
    first = FileSdConfig(str(tmp_path / "a"))
    before = Discovery(SourcesConfig(file_sd=(first,)), ManualClock(), lambda: None)
    await before.sources[0].refresh()
    after = await before.succeeded_by(SourcesConfig(file_sd=(first, FileSdConfig(str(tmp_path / "b")))))
    try:
        assert before.sources[0] is after.sources[0]
        assert ["a:1", "b:1"] == [target.node for target in after.targets]
        assert () == after.unknown
    finally:
        await after.stop()
