"""`perwatt query history`: one row for each step of each item."""

import json
from typing import Any

import pytest
from support.servers.canned import Canned, canned_server

from perwatt.main import main

ITEM = {
    "group": {"model": "chat"},
    "boundary": "node",
    "output_tokens": [600, None],
    "energy_joules": [300.0, None],
    "energy_idle_joules": [30.0, None],
    "tokens_per_joule": [2.0, None],
    "power_watts": [5.0, None],
    "currency": None,
    "cost": [None, None],
    "carbon_kind": None,
    "grams_co2e": [None, None],
    "coverage_ratio": [1.0, 0.0],
    "valid": [True, False],
    "provenance": ["counter", "integrated"],
    "reasons": ["coverage_low"],
    "source": "history",
}
ANSWER: dict[str, Any] = {
    "schema_version": 1,
    "by": ["model"],
    "step_seconds": 60,
    "times": ["2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z"],
    "items": [ITEM],
    "next": None,
}
ROUTES = {"/v1/history": Canned(json.dumps(ANSWER).encode())}
TABLE = """\
model  time                  boundary  tokens/J  tokens    J  W  cost  g CO2e  coverage  valid
chat   2026-11-21T10:00:00Z  node             2     600  300  5  -     -              1  yes
chat   2026-11-21T10:01:00Z  node             -       -    -  -  -     -              0  no
"""


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A step that is not known has dashes, and reasons are explained below."""
    with canned_server(ROUTES) as server:
        assert 0 == main(["query", "history", "--by", "model", "--url", server.url])

    out = capsys.readouterr().out
    assert out.startswith(TABLE)
    assert "coverage_low: " in out


def test_a_new_item_begins_with_its_first_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """A table has no lines from before an item was first read, and those of a later outage."""
    covered = {"coverage_ratio": [0.0, 1.0, 0.0], "valid": [False, True, False]}
    numbers = {name: [None, 2.0, None] for name, value in ITEM.items() if value in ([600, None], [2.0, None])}
    others = {
        name: [None] * 3
        for name in ("energy_joules", "energy_idle_joules", "power_watts", "cost", "grams_co2e")
    }
    times = [*ANSWER["times"], "2026-11-21T10:02:00Z"]
    answer = {**ANSWER, "times": times, "items": [{**ITEM, **covered, **numbers, **others}]}
    with canned_server({"/v1/history": Canned(json.dumps(answer).encode())}) as server:
        assert 0 == main(["query", "history", "--by", "model", "--url", server.url])

    lines = capsys.readouterr().out.splitlines()
    assert times[1:] == [line.split()[1] for line in lines if line.startswith("chat ")]


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
    """Each step is a line of its own, with its time."""
    columns = "time,group.model,tokens_per_joule,valid"
    with canned_server(ROUTES) as server:
        assert 0 == main(["query", "history", "--csv", "--columns", columns, "--url", server.url])

    assert 3 == len(capsys.readouterr().out.splitlines())


def test_json_is_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json it is the answer of the aggregator, in its form."""
    with canned_server(ROUTES) as server:
        assert 0 == main(["query", "history", "--json", "--url", server.url])

    assert ANSWER == json.loads(capsys.readouterr().out)


def test_what_is_asked() -> None:
    """Start, end, step and grouping reach the aggregator."""
    span = ["--from", "2026-11-21T10:00:00Z", "--to", "1795255800", "--step", "15m"]
    with canned_server(ROUTES) as server:
        main(["query", "history", *span, "--by", "model", "--boundary", "node", "--url", server.url])

    assert [
        "/v1/history?by=model&boundary=node&from=2026-11-21T10%3A00%3A00Z&to=2026-11-21T10%3A10%3A00Z&step=15m"
    ] == server.asked


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["efficiency", "--step", "1m"], "--step works only with `query history`"),
        (["history", "--window", "5m"], "--window does not work with `query history`"),
        (["efficiency", "--from", "1795255800"], "--from works only with --recording"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], wrong: str) -> None:
    """An argument that the topic does not have is a usage error."""
    assert 2 == main(["query", *arguments])
    assert wrong in capsys.readouterr().err
