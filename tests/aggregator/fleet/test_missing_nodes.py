"""Nodes and GPUs that nobody reads: how much of the fleet they are; no figure without them is valid."""

from pathlib import Path
from random import Random

import pytest
from support.fleet.agents import Machine, serving_machine
from support.fleet.fleets import Followed
from support.servers.asgi import ask

from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.readings.node_memory import NodeMemory

GPUS = 8


def machines(number: int, gpus: int = GPUS) -> list[Machine]:
    """Machines of *gpus* GPUs, each held by an engine of its own."""
    return [serving_machine(gpus, f"N{index}", gpus) for index in range(number)]


def read(fleet: Followed, *nodes: int, seconds: float = 60.0) -> Followed:
    """Read only these nodes for a while; the others do not answer."""
    fleet.look(at=nodes)
    for _ in range(round(seconds / fleet.interval_seconds)):
        for machine in fleet.machines:
            machine.run(fleet.interval_seconds)
        fleet.clock.advance(fleet.interval_seconds)
        fleet.look(at=nodes)
    return fleet


class TestNodeNeverSeen:
    @pytest.mark.parametrize("by", [(), ("node",)])
    def test_its_weight_is_not_known(self, by: tuple[str, ...]) -> None:
        """Three nodes of 8 GPUs live, one never read: coverage is a guess, and the figure is not valid."""
        item = read(Followed(machines(4)), 0, 1, 2).items(*by)[-1]  # type: ignore[arg-type]

        assert not item.valid
        assert {"node_never_seen", "node_unreachable"} <= set(item.reasons)

    def test_even_among_many(self) -> None:
        """Ten nodes of 8 GPUs live: the one that was never read may have as many GPUs as all others."""
        item = read(Followed(machines(11)), *range(10)).item()

        assert (False, ("node_never_seen", "node_unreachable")) == (item.valid, item.reasons)

    def test_figures_without_it(self) -> None:
        """Its workloads are not known: those of other nodes are valid."""
        fleet = read(Followed(machines(2)), 0)

        assert [True] * GPUS == [item.valid for item in fleet.items("workload")]
        assert [True, False] == [item.valid for item in fleet.items("node")]

    def test_once_it_answers(self) -> None:
        """A node that answers is known, and counts with its GPUs."""
        fleet = read(read(Followed(machines(4)), 0, 1, 2), *range(4), seconds=75.0)

        assert (1.0, True, ()) == (fleet.item().coverage_ratio, fleet.item().valid, fleet.item().reasons)

    def test_every_answer(self) -> None:
        """Ledger, compute and facility are not valid where efficiency is not."""
        fleet = read(Followed(machines(11)), *range(10))
        aggregator = fleet.aggregator

        (chain,) = aggregator.compute(60.0, ()).items
        (facility,) = aggregator.facility_answer(60.0).items
        assert [(False, True)] * 3 == [
            (one.valid, "node_never_seen" in one.reasons) for one in (fleet.tree(), chain, facility)
        ]
        assert [False] * 5 == [step.valid for step in chain.steps]

    def test_before_the_first_reading(self) -> None:
        """No figure is valid right after the aggregator's start."""
        fleet = Followed(machines(2))

        assert (False, 0.0) == (fleet.item().valid, fleet.item().coverage_ratio)


class TestRemembered:
    def test_a_dead_node_weighs_what_it_had(self) -> None:
        """Three nodes of 8 GPUs live, one dead since the aggregator's restart: coverage 0.75, not 0.96."""
        memory = NodeMemory()
        read(Followed(machines(4), memory=memory), *range(4))
        fleet = read(Followed(machines(4), memory=memory), 0, 1, 2)

        assert (0.75, False) == (fleet.item().coverage_ratio, fleet.item().valid)
        assert ("coverage_low", "node_unreachable") == fleet.item().reasons

    def test_a_small_dead_node_of_many(self) -> None:
        """One GPU of 33 is known to be missing: its figure is valid, with its coverage."""
        memory = NodeMemory()
        fleets = [Followed([*machines(4), serving_machine(prefix="S")], memory=memory) for _ in range(2)]
        read(fleets[0], *range(5))
        item = read(fleets[1], *range(4)).item()

        assert (32 / 33, True, ("node_unreachable",)) == (
            pytest.approx(item.coverage_ratio),
            item.valid,
            item.reasons,
        )

    @pytest.mark.parametrize("seed", range(20))
    def test_coverage_is_the_share_of_gpus(self, seed: int) -> None:
        """Any nodes of 1 to 8 GPUs, any of them dead, lost or without identity: coverage counts each GPU."""
        random = Random(seed)
        memory = NodeMemory()
        counts = [random.randint(1, 8) for _ in range(random.randint(2, 5))]
        fleet = Followed([serving_machine(n, f"N{i}", n) for i, n in enumerate(counts)], memory=memory)
        read(fleet, *range(len(counts)))
        again = Followed([serving_machine(n, f"N{i}", n) for i, n in enumerate(counts)], memory=memory)
        total, covered, live = sum(counts), 0, []
        for index, machine in enumerate(again.machines):
            if random.random() < 0.3:
                continue
            live.append(index)
            lost = random.sample(machine.gpus, random.randint(0, 1))
            for gpu in lost:
                gpu.state = random.choice(("lost", "hung", "error"))
            machine.workloads = [
                one for one in machine.workloads if not {g.uuid for g in lost} & set(one.joules)
            ]
            machine.unidentified_gpus = random.randint(0, 1)
            total += machine.unidentified_gpus
            covered += len(machine.gpus) - len(lost)
        item = read(again, *live).item()

        assert covered / total == pytest.approx(item.coverage_ratio)
        assert not item.valid or covered / total >= 0.95


class TestGpusWithoutIdentity:
    def test_their_joules_are_missing(self) -> None:
        """A node counts 8 GPUs and names 7: an eighth of it is not covered, at the node and in the fleet."""
        (machine,) = machines(1, gpus=7)
        machine.unidentified_gpus = 1
        fleet = read(Followed([machine]), 0)

        for item in (fleet.item(), fleet.item("node")):
            assert (7 / 8, False) == (pytest.approx(item.coverage_ratio), item.valid)
            assert ("coverage_low", "gpus_missing") == item.reasons
        assert [True] * 7 == [item.valid for item in fleet.items("workload")]

    def test_one_of_many(self) -> None:
        """One of 100 GPUs: the figure lacks its joules, however small its share."""
        nodes = machines(12)
        nodes[0].unidentified_gpus = 1
        item = read(Followed(nodes), *range(12)).item()

        assert (False, ("gpus_missing",)) == (item.valid, item.reasons)

    def test_every_answer(self) -> None:
        """Ledger and facility are not valid, and the chain of compute has a GPU that is not alive."""
        (machine,) = machines(1, gpus=7)
        machine.unidentified_gpus = 1
        fleet = read(Followed([machine]), 0)
        (facility,) = fleet.aggregator.facility_answer(60.0).items
        (chain,) = fleet.aggregator.compute(60.0, ()).items

        assert [(False, True)] * 2 == [
            (one.valid, "gpus_missing" in one.reasons) for one in (fleet.tree(), facility)
        ]
        assert (8.0, 7.0) == (chain.gpus_assigned, chain.gpus_alive)


class TestPageWithoutGpus:
    @pytest.mark.parametrize("backend_up", [True, False])
    def test_a_node_that_had_some(self, backend_up: bool) -> None:
        """An agent that lists no GPU any more after its restart: the node has them still."""
        fleet = read(Followed(machines(2)), 0, 1)
        fleet.machines[1].gpus.clear()
        fleet.machines[1].workloads.clear()
        fleet.machines[1].backend_up = backend_up
        item = read(fleet, 0, 1, seconds=120.0).item()

        assert (0.5, False) == (pytest.approx(item.coverage_ratio), item.valid)

    def test_after_the_history(self) -> None:
        """Also when no reading of its GPUs is left."""
        fleet = read(Followed(machines(2)), 0, 1)
        fleet.machines[1].gpus.clear()
        fleet.machines[1].workloads.clear()
        item = read(fleet, 0, 1, seconds=1000.0).item()

        assert (0.5, ("coverage_low", "gpus_missing")) == (pytest.approx(item.coverage_ratio), item.reasons)

    def test_fewer_gpus_are_believed(self) -> None:
        """GPUs that are removed or excluded are gone, once no reading of them is left."""
        fleet = read(Followed(machines(1)), 0)
        del fleet.machines[0].gpus[4:], fleet.machines[0].workloads[4:]
        item = read(fleet, 0, seconds=1000.0).item()

        assert (1.0, True) == (item.coverage_ratio, item.valid)

    def test_a_node_that_never_had_any(self) -> None:
        """A node without GPUs misses none."""
        empty = Machine([])
        empty.backend_up = False
        item = read(Followed([*machines(1), empty]), 0, 1).item()

        assert (1.0, True) == (item.coverage_ratio, item.valid)


async def test_metrics_page_shows_no_figure(tmp_path: Path) -> None:
    """/metrics shows figures by model of the nodes that were read, and none of the fleet."""
    fleet = read(Followed(machines(2)), 0)
    page = (await ask(create_app(fleet.aggregator), "/metrics")).body

    assert 3 == page.count(b"perwatt_output_tokens_per_joule{")
