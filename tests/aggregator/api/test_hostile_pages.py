"""One agent that shows anything at all: that is its own failure, and all endpoints answer for the others."""

import json
import random
import re
from typing import Any

import pytest
from support.fleet.agents import serving_machine
from support.fleet.fleets import FACILITY, Followed
from support.servers.asgi import ask

from perwatt_agent.net.prometheus_text import PageError
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.readings.facts import BadValue
from perwatt_aggregator.readings.node_ring import HistoryFull, TooManySeries
from perwatt_aggregator.readings.objectives import SloConfig
from perwatt_aggregator.readings.page_reader import NotAnAgent, PageReader
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.render import Renderer, page

INTERVAL_SECONDS = 5.0
READINGS = 14
PATHS = (
    "/v1/efficiency",
    "/v1/efficiency?by=model,node,gpu&window=15m",
    "/v1/efficiency?by=workload",
    "/v1/ledger?by=node,workload",
    "/v1/compute?by=workload",
    "/v1/facility",
    "/v1/nodes",
    "/v1/gpus",
    "/v1/workloads",
)
VALUES = [
    "NaN",
    "+Inf",
    "-Inf",
    "0",
    "-0",
    "-1",
    "1e-320",
    "0.5",
    "1e9",
    "1e19",
    "1e24",
    "1e30",
    "1e100",
    "1e300",
    "1.7e308",
    "-1.7e308",
    "9223372036854775808",
    "18446744073709551616",
    "253402300800",
]
LABELS = (
    *(b"", b"x" * 60_000, b"9" * 30, b"9" * 5000, b"\xed\xa0\x80", b"\xff\xfe", b'\\n\\\\\\"', b"\x1b[2J"),
    *("\u0663".encode(), "\U0001f600".encode(), b"NaN", b"1e400", b"replay", b"simulated", b"../..", b"null"),
)
VALUE = re.compile(rb"^(perwatt_\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)
LABEL = re.compile(rb'="([^"]*)"')


def page_of(followed: Followed, machine: int) -> bytes:
    snapshot = followed.machines[machine].snapshot()
    return page(Renderer().collected(((family, family.read(snapshot)) for family in ALL), "text"), "text")


def mutated(text: bytes, chance: random.Random) -> bytes:
    """The page with some values, labels and lines replaced, each kind of series as likely as another."""
    lines = text.splitlines(keepends=True)
    names = sorted({line.partition(b"{")[0].partition(b" ")[0] for line in lines if line[:1] != b"#"})
    for name in chance.sample(names, chance.choice((1, 2, 5))):
        value, label = chance.choice(VALUES).encode(), chance.choice(LABELS)
        kind = chance.choice(("value", "value", "label", "double", "cut"))
        for index, line in enumerate(lines):
            if not line.startswith(name) or chance.random() < 0.2:
                continue
            if kind == "value":
                lines[index] = VALUE.sub(lambda found, value=value: found[1] + b" " + value, line)  # type: ignore[misc]
            elif kind == "label":
                lines[index] = LABEL.sub(lambda _, label=label: b'="' + label + b'"', line)  # type: ignore[misc]
            elif kind == "double":
                lines[index] = line + VALUE.sub(lambda found, value=value: found[1] + b" " + value, line)  # type: ignore[misc]
            else:
                lines[index] = line[: len(line) // 2] + b"\n"
    return b"".join(lines)


def fleet() -> Followed:
    bad, good = serving_machine(2, "bad", 2), serving_machine(2, "good", 2)
    return Followed([bad, good], FACILITY, INTERVAL_SECONDS, slo=[SloConfig(time_to_first_token=1.0)])


def read_all(followed: Followed, chance: random.Random | None) -> int:
    """Read both nodes for a minute, hostile pages of the first among them; return how many were refused."""
    reader, node, refused = PageReader(), followed.aggregator.nodes[0], 0
    for _ in range(READINGS):
        for machine in followed.machines:
            machine.run(INTERVAL_SECONDS)
        followed.clock.advance(INTERVAL_SECONDS)
        followed.look(at=[1])
        text = page_of(followed, 0)
        if chance is not None and chance.random() < 0.6:
            text = mutated(text, chance)
        try:
            node.add(reader.read(text, followed.clock.monotonic()), followed.clock.unix())
        except (PageError, NotAnAgent, BadValue, TooManySeries, HistoryFull):
            node.fail("bad_value")
            refused += 1
        followed.aggregator.efficiency()
    return refused


async def answers(followed: Followed) -> dict[str, Any]:
    """The strict JSON of each endpoint."""
    app, found = create_app(followed.aggregator), {}
    for path in PATHS:
        reply = await ask(app, path)
        assert 200 == reply.status, path
        found[path] = json.loads(reply.body, parse_constant=pytest.fail)
    assert 200 == (await ask(app, "/metrics")).status
    return found


def of_good(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The items of the good node alone."""
    return [item for item in answer["items"] if "node1:9836" in (item.get("node"), _node_of_group(item))]


def _node_of_group(item: dict[str, Any]) -> str | None:
    """The node of a group of parts; the group of a workload is a name."""
    group = item.get("group")
    return group.get("node") if isinstance(group, dict) else None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
async def test_mutated_pages(seed: int) -> None:
    """Whatever one agent shows, every endpoint answers, and what it says of the other node is the same."""
    hostile, plain = fleet(), fleet()
    read_all(hostile, random.Random(seed))
    assert 0 == read_all(plain, None)
    found, expected = await answers(hostile), await answers(plain)

    for path in PATHS:
        assert of_good(expected[path]) == of_good(found[path]), path
    assert "internal" not in hostile.aggregator.nodes[0].failures


def test_last_guard() -> None:
    """A node whose readings cannot be used loses them, and is computed again without."""
    followed = fleet()
    read_all(followed, None)
    node = followed.aggregator.nodes[0]

    def compute() -> int:
        return 1 // (0 if node.sample is not None else 1)

    assert 1 == node.attempt(compute)
    assert ("internal", False, None) == (node.failure, node.up, node.sample)
    assert followed.aggregator.nodes[1].up
