"""A recording gives back what was recorded, or is refused as a whole in one line."""

import io
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.accounts.node import Engine, Node

from perwatt_agent.facts.readings import Readings
from perwatt_agent.facts.snapshot import CollectorHealth
from perwatt_agent.recording.recording import Header, Recording, RecordingError, RecordingWriter

COLLECTORS = (CollectorHealth("gpu", success=True),)


def swept(sweeps: int) -> list[Readings]:
    """Sweeps of a node whose second GPU is there from the third on, and lost in the fifth."""
    node = Node(2, [Engine("a", gpus=(0, 1))])
    taken = []
    for number in range(sweeps):
        node.present[1] = number != 4
        readings = node.sweep()
        if number < 2:
            readings = msgspec.structs.replace(readings, known=readings.known[:1], gpus=readings.gpus[:1])
        taken.append(readings)
    return taken


def recorded(taken: list[Readings]) -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, "node-7", 1.0)
    for readings in taken:
        writer.write(msgspec.structs.replace(readings, collectors=COLLECTORS))
    writer.close()
    return file.getvalue()


WHOLE = recorded(swept(12))
LINES = WHOLE.splitlines(keepends=True)


def refusal(path: Path) -> str:
    """The one line that refuses a file."""
    with pytest.raises(RecordingError) as refused:
        Recording(path)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert message.isprintable()
    return message.removeprefix(str(path))


class TestJson:
    def test_round_trip(self, tmp_path: Path) -> None:
        """All readings come back as they were, except for how collectors fared, as often as asked for."""
        path = tmp_path / "node.jsonl"
        path.write_bytes(WHOLE)
        recording = Recording(path)

        assert swept(12) == list(recording.readings()) == list(recording.readings())
        assert (
            Header("perwatt-recording", 1, "node-7", 1.0, "nvml", "", swept(1)[0].known) == recording.header
        )

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param(
                b"".join(LINES[:-1]), "is truncated: the end line is missing after 12 cycles", id="no end"
            ),
            pytest.param(WHOLE[:-30], "not a line of a perwatt", id="cut in a line"),
            pytest.param(b"".join(LINES[:5] + LINES[6:]), "12 cycles were written", id="a hole"),
            pytest.param(
                b"".join(LINES[:5]) + LINES[5].replace(b"GPU-1", b"GPU-9") + b"".join(LINES[6:]),
                ":6: the readings do not match the known GPUs",
                id="a GPU that nobody knows",
            ),
            pytest.param(b"".join(LINES[1:]), "the header must come first", id="no header"),
            pytest.param(LINES[0] + WHOLE, "the header must come first", id="two headers"),
            pytest.param(WHOLE + LINES[3], "unexpected line after the end line", id="a sweep after the end"),
            pytest.param(WHOLE + b"garbage\n", "not a line of a perwatt", id="garbage after the end"),
            pytest.param(WHOLE + WHOLE, "unexpected line after the end line", id="twice"),
            pytest.param(WHOLE[:200] + b"\xff\x00" + WHOLE[200:], "not a line of", id="bytes"),
            pytest.param(b"", "is empty", id="empty"),
            pytest.param(b'{"a": 1}\n', "not a line of a perwatt", id="foreign JSON"),
            pytest.param(b'{"line": "a\\nb"}\n', "not a line of a perwatt", id="a line break in it"),
            pytest.param(b"[" * 100_000, "not a line of a perwatt", id="nested"),
            pytest.param(
                b'{"line":"end","sweeps":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
                "not a line of a perwatt",
                id="nested in a line",
            ),
            pytest.param(
                WHOLE.replace(b'"version":1', b'"version":2'),
                "this perwatt reads perwatt-recording version 1",
                id="other version",
            ),
            pytest.param(
                WHOLE.replace(b'"perwatt-recording"', b'"other"'), "is other version 1", id="other format"
            ),
        ],
    )
    def test_refused(self, tmp_path: Path, content: bytes, message: str) -> None:
        """What is not a whole recording is refused, saying why."""
        path = tmp_path / "node.jsonl"
        path.write_bytes(content)

        assert message in refusal(path)

    def test_not_a_file(self, tmp_path: Path) -> None:
        """What cannot be opened is refused alike."""
        assert "No such file" in refusal(tmp_path / "missing.jsonl")
        assert "Is a directory" in refusal(tmp_path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(end=st.integers(0, len(WHOLE) - 2))
    def test_cut_anywhere(self, tmp_path: Path, end: int) -> None:
        """Wherever it is cut, it is refused."""
        path = tmp_path / "node.jsonl"
        path.write_bytes(WHOLE[:end])

        refusal(path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(content=st.binary())
    def test_anything(self, tmp_path: Path, content: bytes) -> None:
        """No bytes at all do anything but be refused in one line."""
        for name in ("node.jsonl", "node.csv"):
            path = tmp_path / name
            path.write_bytes(content)
            refusal(path)


def csv(*rows: str, header: str = "t_unix_s,watts") -> str:
    return "\n".join((header, *rows)) + "\n"


class TestCsv:
    @pytest.mark.parametrize(
        "dress",
        [
            pytest.param(lambda text: text.encode(), id="plain"),
            pytest.param(lambda text: text.encode("utf-8-sig"), id="with a byte order mark"),
            pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="with line ends of Windows"),
        ],
    )
    def test_meter(self, tmp_path: Path, dress: Callable[[str], bytes]) -> None:
        """A CSV of watts is a meter of the whole node; other columns are left alone."""
        path = tmp_path / "wall.csv"
        path.write_bytes(
            dress(csv("100.0,a,500", "101.0,b,600.5", "103.0,c,700", header="t_unix_s,note,watts"))
        )
        recording = Recording(path)

        assert ("wall", 2.0, "replay") == (
            recording.header.node,
            recording.header.interval_seconds,
            recording.header.backend,
        )
        assert [(100.0, "csv", 500.0), (101.0, "csv", 600.5), (103.0, "csv", 700.0)] == [
            (readings.unix_seconds, meter.source, meter.power_watts)
            for readings in recording.readings()
            for meter in readings.meters
        ]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param("", "fewer than two readings", id="empty"),
            pytest.param(csv(), "fewer than two readings", id="only a header"),
            pytest.param(csv("100,500"), "fewer than two readings", id="one reading"),
            pytest.param(csv("100,5", "101,6", header="time,power"), ":2: expected numbers", id="no columns"),
            pytest.param("100,500\n101,600\n", ":2: expected numbers", id="no header"),
            pytest.param(csv("100,500", "101,many"), ":3: expected numbers", id="text"),
            pytest.param(csv("100,500", "101"), ":3: expected numbers", id="short row"),
            pytest.param(csv("100,500", "101,-5"), ":3: a power of -5.0 W", id="negative"),
            pytest.param(csv("100,500", "101,nan"), "is not a valid reading", id="not a number"),
            pytest.param(csv("100,500", "inf,500"), "is not a valid reading", id="endless time"),
            pytest.param(csv("100,500", "100,600"), "t_unix_s does not increase", id="time stands"),
            pytest.param(csv("100,500", "99,600"), "t_unix_s does not increase", id="time goes back"),
        ],
    )
    def test_refused(self, tmp_path: Path, text: str, message: str) -> None:
        """A CSV without the columns, or with anything but readings in them, is refused, saying where."""
        path = tmp_path / "wall.csv"
        path.write_text(text)

        assert message in refusal(path)
