"""`perwatt query ledger`: the tree as text."""

import json
import re

import pytest
from msgspec import json as msgspec_json
from support.fleet.agents import serving_machine
from support.fleet.fleets import BARE, FACILITY, Followed
from support.servers.canned import Canned, canned_server

from perwatt.main import main
from perwatt_aggregator.facility.config import FacilityConfig


def answer(facility: FacilityConfig = FACILITY, watts: float = 300.123456) -> dict[str, Canned]:
    """What an aggregator answers that has looked at a node for a minute."""
    fleet = Followed([serving_machine(gpus=2)], facility)
    fleet.look()
    fleet.run(60.0, watts=watts)
    return {"/v1/ledger": Canned(msgspec_json.encode(fleet.aggregator.ledger(60.0, ("node",))))}


class TestTree:
    def test_tree(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A line for each entry, indented by what it is part of, with joules, share and money."""
        with canned_server(answer()) as server:
            assert 0 == main(["query", "ledger", "--by", "node", "--window", "60s", "--url", server.url])
        lines = capsys.readouterr().out.splitlines()

        assert ["/v1/ledger?window=1m&by=node"] == server.asked
        assert lines[0].startswith("node node0:9836: 81000 J at facility, 60s to ")
        assert lines[0].endswith(", valid")
        assert ["unallocated", "18000", "22.2"] == next(
            line.split()[:3] for line in lines if "unallocated" in line
        )
        assert ["facility", "  nodes", "    gpu_boards", "      active"] == [
            re.split(r"(?<=\w) ", line)[0] for line in lines[2:6]
        ]

    def test_three_digits(self, capsys: pytest.CaptureFixture[str]) -> None:
        """No figure has more than three significant digits; as JSON each has all of its own."""
        with canned_server(answer()) as server:
            main(["query", "ledger", "--url", server.url])
            text = capsys.readouterr().out
            main(["query", "ledger", "--json", "--url", server.url])
            exact = json.loads(capsys.readouterr().out)
        table = "\n".join(line for line in text.splitlines()[2:] if ":" not in line)

        figures = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", table)
        assert figures
        assert all(len(figure.replace(".", "").strip("0")) <= 3 for figure in figures)
        assert 2 * 300.123456 * 60.0 * 1.8 * 1.25 == pytest.approx(
            exact["items"][0]["energy_joules"], rel=1e-12
        )

    def test_what_is_absent_says_why(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Where the tree ends, the reason stands in its line and its meaning below."""
        with canned_server(answer(BARE)) as server:
            assert 0 == main(["query", "ledger", "--url", server.url])
        text = capsys.readouterr().out

        assert re.search(r"^  nodes +- .*no_node_meter$", text, re.MULTILINE)
        assert "\nno_node_meter: " in text
        assert "psu_and_rest" not in text  # one line says it for all that is below
        assert "J at gpu_board" in text


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["ledger", "--columns", "J"], "--columns works with tables and with --csv"),
        (["efficiency", "--kw", "5"], "--kw works only with `query capacity`"),
        (["nodes", "--by", "node"], "works only with `query efficiency`, `query ledger`, `query compute`"),
        (["ledger", "--boundary", "node"], "works only with `query efficiency`"),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], wrong: str) -> None:
    """An argument that a topic does not have is a usage error."""
    assert 2 == main(["query", *arguments])
    assert wrong in capsys.readouterr().err
