"""Who serves a page: a restart is no other agent, a new machine is one, and taking turns is noticed."""

import pytest
from msgspec.structs import replace
from support.fleet.agents import serving_machine

from perwatt_agent.facts.snapshot import AgentInfo
from perwatt_aggregator.readings.page_owner import SEVERAL_SECONDS, PageOwner
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.readings.sample import NodeSample


def sample(second: float, agent: str = "", start: float = 0.0, gpu: str | None = None) -> NodeSample:
    """The page of an agent at a monotonic second, with a GPU of that UUID alone."""
    snapshot = replace(serving_machine().snapshot(), agent=AgentInfo(agent, start) if agent else None)
    read = replace(sample_of_snapshot(snapshot), monotonic_seconds=second)
    return (
        read if gpu is None else replace(read, gpus={gpu: replace(next(iter(read.gpus.values())), gpu=gpu)})
    )


class TestWithIds:
    def test_a_restart(self) -> None:
        """One agent that starts again is the same."""
        owner = PageOwner()

        assert [False] * 3 == [owner.update(sample(float(t), "a", start=t // 2)) for t in range(3)]
        assert not owner.has_several(3.0)

    def test_a_new_machine(self) -> None:
        """Another agent in its place is another one, once."""
        owner = PageOwner()

        assert [False, True, False] == [owner.update(sample(t, name)) for t, name in enumerate("abb")]
        assert not owner.has_several(3.0)

    @pytest.mark.parametrize("turns", ["aba", "aabba", "abcabc"])
    def test_in_turn(self, turns: str) -> None:
        """One that comes back after another means that both serve; it is told for as long as stated."""
        owner = PageOwner()
        for second, name in enumerate(turns):
            owner.update(sample(float(second), name))

        last = len(turns) - 1.0
        assert owner.has_several(last)
        assert owner.has_several(last + SEVERAL_SECONDS - 1.0)
        assert not owner.has_several(last + SEVERAL_SECONDS)

    def test_two_processes_with_one_id(self) -> None:
        """Two agents that share a folder have one id and two starts: they take turns as well."""
        owner = PageOwner()
        for second, start in enumerate((10.0, 20.0, 10.0)):
            owner.update(sample(float(second), "a", start))

        assert owner.has_several(2.0)


class TestWithoutIds:
    def test_by_their_gpus(self) -> None:
        """Agents without an id are told apart by GPUs that have nothing in common."""
        owner = PageOwner()

        assert [False, True, True] == [owner.update(sample(t, gpu=gpu)) for t, gpu in enumerate("xyx")]
        assert owner.has_several(2.0)

    def test_a_page_without_gpus(self) -> None:
        """One that shows no GPU for a while is still the same."""
        owner = PageOwner()
        bare = replace(sample(1.0), gpus={})

        assert [False, False, False] == [owner.update(one) for one in (sample(0.0), bare, sample(2.0))]
        assert not owner.has_several(2.0)
