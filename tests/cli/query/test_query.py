"""`perwatt query` over a real server that answers as the aggregator does."""

import json
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers.canned import Canned, canned_server, redirecting

from perwatt.main import main
from perwatt.tables import significant

ITEM = {
    "group": {"model": "llama-3-70b"},
    "boundary": "node",
    "window": {"start": "2026-11-21T10:00:00.1Z", "end": "2026-11-21T10:01:00.1Z", "seconds": 60.0},
    "tokens": {"output": 60000, "prompt_computed": 9000, "prompt_cached": 1000, "effective_output": 59000},
    "requests": {"ok": 200, "aborted": 1, "error": 0},
    "work": {},
    "energy_joules": 12000.0,
    "energy_idle_joules": 900.0,
    "power_watts": 200.0,
    "output_tokens_per_second": 1000.0,
    "tokens_per_joule": 5.0,
    "joules_per_token": 0.2,
    "effective_tokens_per_joule": 4.92,
    "tokens_per_joule_active": 5.41,
    "watt_hours_per_million_tokens": 55.6,
    "headline": {"unit": "output_tokens", "per_joule": 5.0},
    "joules_per_request": 60.0,
    "pue": {"ratio": 1.25, "kind": "static", "age_seconds": None},
    "coverage_ratio": 1.0,
    "explained_ratio": 0.99,
    "largest_gap_seconds": 1.0,
    "age_seconds": 0.8,
    "provenance": ["counter"],
    "valid": True,
    "reasons": [],
}
UNKNOWN = {
    **ITEM,
    "boundary": "facility",
    "tokens_per_joule": None,
    "headline": {"unit": "prompt_tokens", "per_joule": None},
    "joules_per_token": None,
    "tokens_per_joule_active": None,
    "watt_hours_per_million_tokens": None,
    "power_watts": None,
    "pue": None,
    "provenance": [],
    "valid": False,
    "reasons": ["no_pue"],
}
TABLE = """\
model        boundary  useful/J  unit           J/token  active tokens/J  Wh/Mtoken    W\
  tokens/s   PUE  window              coverage  explained  provenance  valid  reasons
llama-3-70b  node             5  output_tokens      0.2             5.41       55.6  200      1000\
  1.25  60s to 10:01:00.1Z         1       0.99  counter     yes    -
llama-3-70b  facility         -  prompt_tokens        -                -          -    -      1000\
     -  60s to 10:01:00.1Z         1       0.99  -           no     no_pue
no_pue: The facility's PUE is not configured, or the measured one is not usable and no ratio is configured.\
 Set `facility.pue` in the aggregator's configuration; for a live PUE, also set its `ratio`.
"""


def efficiency(*items: object) -> dict[str, Canned]:
    body = {"schema_version": 1, "by": ["model"], "items": items}
    return {"/v1/efficiency": Canned(json.dumps(body).encode())}


class TestEfficiency:
    def test_while_the_first_window_fills(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A figure that only needs time says how long that takes, in place of `no`."""
        filling = {**ITEM, "valid": False, "reasons": ["window_not_filled"], "first_figure_seconds": 44.8}
        with canned_server(efficiency(filling)) as server:
            assert 0 == main(["query", "efficiency", "--url", server.url])

        assert "counter     in about 45 s  window_not_filled" in capsys.readouterr().out

    def test_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A figure comes with boundary, window, coverage, provenance and validity; what is null is `-`."""
        with canned_server(efficiency(ITEM, UNKNOWN)) as server:
            assert 0 == main(["query", "efficiency", "--url", server.url])

        assert TABLE == capsys.readouterr().out

    @pytest.mark.parametrize(
        ("banner", "provenance"), [("SIMULATED: ", "simulated"), ("REPLAYED: ", "replay")]
    )
    def test_what_was_not_measured_says_so_first(
        self, capsys: pytest.CaptureFixture[str], banner: str, provenance: str
    ) -> None:
        """Simulated and replayed figures never pass for measured ones."""
        with canned_server(efficiency(ITEM, {**ITEM, "provenance": ["counter", provenance]})) as server:
            main(["query", "efficiency", "--url", server.url])

        assert capsys.readouterr().out.startswith(banner)

    def test_json_is_the_answer(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With --json nothing is rounded and nothing left out."""
        with canned_server(efficiency(ITEM, UNKNOWN)) as server:
            assert 0 == main(["query", "efficiency", "--json", "--url", server.url])

        answer = json.loads(capsys.readouterr().out)
        assert {"schema_version": 1, "by": ["model"], "items": [ITEM, UNKNOWN]} == answer

    def test_what_is_asked(self) -> None:
        """Window, grouping and boundaries reach the aggregator as they were given."""
        with canned_server(efficiency(ITEM)) as server:
            main(["query", "efficiency", "--url", f"{server.url}/"])
            arguments = ["--window", "5m", "--by", "model,node", "--boundary", "gpu_board,node"]
            main(["query", "efficiency", "--url", server.url, *arguments])

        assert [
            "/v1/efficiency",
            "/v1/efficiency?window=5m&by=model,node&boundary=gpu_board,node",
        ] == server.asked

    def test_nothing_known_yet(self, capsys: pytest.CaptureFixture[str]) -> None:
        """No items are no error."""
        with canned_server(efficiency()) as server:
            assert 0 == main(["query", "efficiency", "--url", server.url])

        assert "no data yet\n" == capsys.readouterr().out

    def test_an_item_without_readings(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A figure without any reading has no window either."""
        with canned_server(efficiency({**UNKNOWN, "window": None, "group": {"model": None}})) as server:
            assert 0 == main(["query", "efficiency", "--url", server.url])

        row = capsys.readouterr().out.splitlines()[1].split()
        assert [
            "-",
            "facility",
            "-",
            "prompt_tokens",
            "-",
            "-",
            "-",
            "-",
            "1000",
            "-",
            "-",
            "1",
            "0.99",
            "-",
            "no",
            "no_pue",
        ] == row


class TestOtherTopics:
    @pytest.mark.parametrize(
        ("topic", "item", "cells"),
        [
            (
                "nodes",
                {"node": "n", "up": False, "gpus": {"ok": 7, "lost": 1, "hung": 0}, "failure": "timed out"},
                ["n", "no", "-", "ok:7,lost:1", "-", "-", "-", "-", "-", "timed", "out"],
            ),
            (
                "gpus",
                {"gpu": "GPU-a", "index": 0, "state": "ok", "power_watts": 412.34, "workloads": ["a", "b"]},
                ["GPU-a", "0", "-", "-", "ok", "412", "-", "-", "-", "-", "-", "a,b"],
            ),
            (
                "workloads",
                {"workload": "chat", "up": True, "energy_idle_joules": 1234567.0},
                ["chat", "-", "-", "-", "yes", "-", "-", "-", "1230000", "-", "-", "-", "-"],
            ),
        ],
    )
    def test_rows(
        self, capsys: pytest.CaptureFixture[str], topic: str, item: dict[str, object], cells: list[str]
    ) -> None:
        """Each topic has its own columns; what an item does not have is `-`."""
        body = json.dumps({"schema_version": 1, "items": [item]}).encode()
        with canned_server({f"/v1/{topic}": Canned(body)}) as server:
            assert 0 == main(["query", topic, "--url", server.url])

        assert cells == capsys.readouterr().out.splitlines()[1].split()

    def test_a_simulated_node_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A node of simulated GPUs is named as one."""
        body = json.dumps({"schema_version": 1, "items": [{"node": "n", "backend": "simulated"}]}).encode()
        with canned_server({"/v1/nodes": Canned(body)}) as server:
            main(["query", "nodes", "--url", server.url])

        assert capsys.readouterr().out.startswith("SIMULATED: ")


class TestFailures:
    def fails(self, capsys: pytest.CaptureFixture[str], url: str) -> str:
        assert 1 == main(["query", "efficiency", "--url", url])
        printed = capsys.readouterr()
        assert ("", 1) == (printed.out, printed.err.count("\n"))
        return printed.err

    def test_unreachable(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a server: one line with what to start, and exit code 1."""
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unheard.getsockname()[1]}"

            said = self.fails(capsys, url)

        assert f"perwatt query: cannot reach {url}: Connection refused; is `perwatt aggregator` or " in said

    def test_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A problem that the aggregator reports is printed on one line."""
        problem = json.dumps({"title": "Bad", "detail": "window:\nexpected at most 24h"}).encode()
        with canned_server({"/v1/efficiency": Canned(problem, 400, "application/problem+json")}) as server:
            said = self.fails(capsys, server.url)

        assert f"perwatt query: {server.url} refused: window: expected at most 24h\n" == said

    def test_redirect(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A redirect is named and not followed: another host's figures would pass for the aggregator's."""
        with canned_server(efficiency(ITEM)) as other:
            target = f"{other.url}/v1/efficiency"
            with redirecting(target) as url:
                said = self.fails(capsys, url)

            assert f"{url} redirects to {target}, which is not followed; set --url" in said
            assert [] == other.asked

    def test_refused_without_a_word(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without problem+json the status has to do."""
        with canned_server({}) as server:
            assert "refused: HTTP 404 Not Found\n" in self.fails(capsys, server.url)

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"schema_version": 2, "items": []}'])
    def test_not_an_aggregator(self, capsys: pytest.CaptureFixture[str], body: bytes) -> None:
        """An answer of another program is an error, not a table."""
        with canned_server({"/v1/efficiency": Canned(body)}) as server:
            assert "did not answer like an aggregator" in self.fails(capsys, server.url)

    def test_an_absent_recording(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """A recording that is not there is one line, and 1."""
        assert 1 == main(["query", "efficiency", "--recording", str(tmp_path / "absent.jsonl")])
        assert 1 == capsys.readouterr().err.count("\n")


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("0", 0), ("5", 5.0), ("0.2", 0.2), ("1230", 1234.5), ("0.000123", 0.0001234), ("999000", 999499)],
    )
    def test_three_digits(self, text: str, value: float) -> None:
        """Three digits are what a figure deserves, without an exponent and without empty decimals."""
        assert text == significant(value)

    @given(st.floats(1e-9, 1e12))
    def test_close_to_the_value(self, value: float) -> None:
        """What is shown differs by less than half of the third digit."""
        assert value == pytest.approx(float(significant(value)), rel=0.0051)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_foreign_names(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """A model's name adds no row and moves no cursor, in a table and in JSON."""
    name = "a\nfake-model  node  999\x1b[2J\x9b1m\x7f\u202e"
    body = json.dumps({"schema_version": 1, "items": [{**ITEM, "group": {"model": name}}]}).encode()
    with canned_server({"/v1/efficiency": Canned(body)}) as server:
        assert 0 == main(["query", "efficiency", "--url", server.url, *flags])

    printed = capsys.readouterr().out
    assert printed.replace("\n", "").isprintable()
    assert not any(line.startswith("fake-model") for line in printed.splitlines())
    assert not flags or name == json.loads(printed)["items"][0]["group"]["model"]
