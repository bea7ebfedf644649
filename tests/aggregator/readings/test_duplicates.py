"""One agent under two addresses, and one GPU on two nodes, count once."""

import logging
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import BARE, Followed

from perwatt_agent.facts.snapshot import AgentInfo, Snapshot
from perwatt_aggregator.targets.target import Target, named


class Named(Machine):
    """A machine whose agent has an id."""

    agent = ""

    def snapshot(self) -> Snapshot:
        return replace(super().snapshot(), agent=AgentInfo(self.agent, 1.0) if self.agent else None)


def machine(uuid: str, agent: str = "") -> Machine:
    found = Named([Gpu(uuid)], [Workload(f"chat-{uuid}", joules={uuid: [0.0, 0.0, 0.0]})])
    found.agent = agent
    return found


@pytest.mark.parametrize(
    "twins",
    [
        pytest.param((machine("GPU-a", "1"), machine("GPU-a", "1")), id="one agent, two spellings"),
        pytest.param((machine("GPU-a", "1"), machine("GPU-a", "2")), id="two agents, one GPU"),
        pytest.param((machine("GPU-a"), machine("GPU-a")), id="older agents"),
    ],
)
def test_counts_once(twins: tuple[Machine, Machine], caplog: pytest.LogCaptureFixture) -> None:
    """Its joules and tokens are those of one node, the figure is valid, and the log names the double once."""
    alone, both = Followed(twins[:1], BARE), Followed(twins, BARE)
    alone.run(90.0)
    with caplog.at_level(logging.WARNING):
        both.run(90.0)
        item, expected = both.item(), alone.item()
        both.item()

    assert (True, expected.energy_joules, expected.tokens) == (item.valid, item.energy_joules, item.tokens)
    assert expected.tokens_per_joule == pytest.approx(item.tokens_per_joule)
    assert 1 == sum("is left out of all sums" in message for message in caplog.messages)
    assert [None, "node0:9836"] == [node.duplicate_of for node in both.aggregator.node_answer().items]


@pytest.mark.parametrize(
    "others",
    [
        pytest.param((machine("GPU-a", "1"), machine("GPU-b", "2")), id="two agents"),
        pytest.param((machine("SIM-host-0", "1"), machine("SIM-host-0", "2")), id="two simulated machines"),
        pytest.param((machine("GPU-a"), machine("GPU-b")), id="older agents"),
    ],
)
def test_others_count(others: tuple[Machine, Machine]) -> None:
    """Agents and GPUs that are not the same are no doubles."""
    fleet = Followed(others, BARE)
    fleet.run(90.0)

    assert {} == fleet.aggregator.duplicates()


AGENTS = (machine("GPU-a", "1"), machine("GPU-b", "2"), machine("GPU-c"), machine("GPU-d"))
"""Two agents with an id, two older ones."""


@given(st.lists(st.sampled_from(range(4)), min_size=1, max_size=6))
def test_any_fleet(targets: list[int]) -> None:
    """However often agents are named, the joules are those of the agents that there are, and valid."""
    machines = deepcopy(AGENTS)
    fleet = Followed([machines[target] for target in targets], BARE)
    for _ in range(18):
        for index in set(targets):
            machines[index].run(5.0)
        fleet.clock.advance(5.0)
        fleet.look()
    item = fleet.item()

    assert (True, len(set(targets)) * 300.0 * 60.0) == (item.valid, pytest.approx(item.energy_joules))
    assert len(targets) - len(set(targets)) == len(fleet.aggregator.duplicates())


def test_several_agents_on_one_machine() -> None:
    """Agents at one host and port have names of their own, by their paths."""
    urls = ("http://host:9836/a/metrics", "http://host:9836/b/metrics", "http://other:9836/metrics")

    assert ["host:9836/a/metrics", "host:9836/b/metrics", "other:9836"] == [
        one.node for one in named(Target("", url) for url in urls)
    ]


def test_an_address_that_lost_its_agent() -> None:
    """An address leads to the agent of another one: its own machine is missing, and not gone."""
    first, second = machine("GPU-a", "1"), machine("GPU-b", "2")
    fleet = Followed([first, second], BARE)
    fleet.run(90.0)
    assert fleet.item().valid
    fleet.machines = [first, first]
    for _ in range(18):
        first.run(5.0)
        fleet.clock.advance(5.0)
        fleet.look()
    item = fleet.item()

    assert (0.5, False) == (item.coverage_ratio, item.valid)
    assert {"several_agents", "node_unreachable"} <= set(item.reasons)
    assert 300.0 == pytest.approx(item.power_watts)


def test_two_agents_in_turn() -> None:
    """Behind one address, nothing is valid, and the reason is its own."""
    first, second = machine("GPU-a", "1"), machine("GPU-b", "2")
    fleet = Followed([first], BARE)
    for turn in range(30):
        fleet.machines = [first if turn % 2 else second]
        for one in (first, second):
            one.run(5.0)
        fleet.clock.advance(5.0)
        fleet.look()
    (item,) = fleet.items()

    assert not item.valid
    assert "several_agents" in item.reasons
