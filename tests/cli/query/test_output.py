"""What `perwatt query` asks for, and the forms in which it shows the answer."""

import csv
import io
import json
from collections.abc import Iterator

import pytest
from support.servers.canned import Canned, canned_server

from perwatt.errors import CommandError
from perwatt.main import main
from perwatt.query.csv_text import csv_text
from perwatt.query.watch import watch
from perwatt.tables import answer_text
from perwatt.terminal import Terminal

NODES = [
    {
        "node": f"gpu-{number}:9836",
        "up": up,
        "backend": "nvml",
        "gpus": {"ok": 8, "lost": 0},
        "workloads": 2,
        "gpu_power_watts": 1234.5,
        "node_power_watts": None,
        "window": None,
        "age_seconds": 0.5,
        "failure": None if up else "timeout",
        "labels": {"rack": "r1"},
        "reasons": ["stale", "coverage_low"],
    }
    for number, up in ((1, True), (2, False))
]


class TestParameters:
    @pytest.mark.parametrize(
        ("arguments", "query"),
        [
            (["efficiency", "--by", "model,rack"], "by=model,rack"),
            (
                ["efficiency", "--model", "a,b", "--gpu-model", "NVIDIA H200"],
                "model=a,b&gpu_model=NVIDIA+H200",
            ),
            (["nodes", "--where", "rack=r1,r2", "--where", "row="], "rack=r1,r2&row="),
            (["nodes", "--sort=-gpu_power_watts", "--limit", "5"], "sort=-gpu_power_watts&limit=5"),
            (["capacity", "--kw", "500", "--by", ""], "by=&kw=500.0"),
        ],
    )
    def test_are_those_of_the_api(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], query: str
    ) -> None:
        """Each flag is a parameter of the same name."""
        body = json.dumps({"schema_version": 1, "items": []}).encode()
        with canned_server({f"/v1/{arguments[0]}": Canned(body)}) as server:
            assert 0 == main(["query", *arguments, "--url", server.url])
        assert [f"/v1/{arguments[0]}?{query}"] == server.asked
        assert "no data yet\n" == capsys.readouterr().out


class TestColumns:
    def test_titles_and_fields(self) -> None:
        """A column is one of the table, or any field of the answer."""
        table = answer_text("nodes", NODES, ("node", "GPU W", "labels.rack"))

        head, first, _, *_ = table.splitlines()
        assert ("node        GPU W  labels.rack", "gpu-1:9836   1230  r1") == (head, first)

    def test_unknown(self) -> None:
        """A column that there is not is an error that lists those that there are."""
        with pytest.raises(CommandError, match="no column 'x'; choose from node, up, backend"):
            answer_text("nodes", NODES, ("x",))


class TestTerminal:
    @pytest.mark.parametrize("width", range(40, 120, 7))
    def test_fits(self, width: int) -> None:
        """No line of the table is wider than the terminal; hidden columns are named, the first never hide."""
        head, *rows, note = answer_text("nodes", NODES, (), Terminal(width)).splitlines()[:4]

        assert all(len(line) <= width for line in (head, *rows))
        assert head.startswith("node")
        assert (f"hidden to fit {width} characters: " in note) == ("failure" not in head)

    def test_colours_are_only_colours(self) -> None:
        """With colours, the text is the same; without a terminal there are none."""
        plain = answer_text("nodes", NODES)
        coloured = answer_text("nodes", NODES, (), Terminal(None, has_colours=True))

        assert "\x1b" not in plain
        assert "\x1b[32myes\x1b[0m" in coloured
        assert "\x1b[31mno\x1b[0m" in coloured
        for code in ("1", "31", "32", "0"):
            coloured = coloured.replace(f"\x1b[{code}m", "")
        assert plain == coloured

    def test_no_terminal(self) -> None:
        """A pipe has no width and no colours."""
        assert Terminal() == Terminal.of(io.StringIO(), {"TERM": "xterm", "COLUMNS": "50"})


class TestCsv:
    def test_every_field(self) -> None:
        """A row for each item and a column for each field, in full precision."""
        first, second = csv.DictReader(io.StringIO(csv_text(NODES)))

        assert ("gpu-1:9836", "true", "8", "1234.5", "", "r1", "stale;coverage_low") == tuple(
            first[name]
            for name in (
                *("node", "up", "gpus.ok", "gpu_power_watts", "node_power_watts"),
                *("labels.rack", "reasons"),
            )
        )
        assert ("false", "timeout") == (second["up"], second["failure"])

    def test_columns(self) -> None:
        """Only the columns that are asked for, in this order."""
        assert "failure,node\n,gpu-1:9836\ntimeout,gpu-2:9836" == csv_text(NODES, ("failure", "node"))

    def test_no_formula(self) -> None:
        """A name that a spreadsheet would take for a formula is a text."""
        assert "model\n'=cmd" == csv_text([{"model": "=cmd"}])


def test_watch() -> None:
    """The answer again and again, also after one that could not be had; Ctrl-C ends it with 0."""
    answers: Iterator[str | Exception] = iter(["one", CommandError("cannot reach it"), "two"])
    out = io.StringIO()

    def show() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(seconds: float) -> None:
        assert 2.0 == seconds
        if out.getvalue().endswith("two\n"):
            raise KeyboardInterrupt

    assert 0 == watch(show, 2.0, out, sleep)
    assert "one\nperwatt: cannot reach it\ntwo\n" == out.getvalue()
