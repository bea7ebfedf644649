"""GPUs that have neither power nor energy: a reason of their own, and none where a node meter covers them."""

import pytest
from support.fleet.agents import Gpu, Machine, Workload, serving_machine
from support.fleet.fleets import Followed

from perwatt_aggregator.facility.config import FacilityConfig, PueConfig
from perwatt_aggregator.schema.common import Boundary

PUE = FacilityConfig(pue=PueConfig(1.25))
NODE_WATTS = 500.0
CARD = "GPU-card"


def ran(machine: Machine, node_watts: float = NODE_WATTS) -> Followed:
    """A minute of a machine under a node meter, unless it shows 0 W."""
    fleet = Followed([machine], PUE)
    fleet.look()
    fleet.run(65.0, node_watts=node_watts)
    return fleet


def with_card(gpus: int = 1, holder: Workload | None = None) -> Machine:
    """A machine with engines on its first GPUs, and a card without a power sensor."""
    machine = serving_machine(gpus, workloads=gpus)
    machine.gpus.append(Gpu(CARD, has_sensor=False))
    if holder is not None:
        machine.workloads.append(holder)
        holder.take(CARD)
    return machine


class TestHeldByNobody:
    @pytest.mark.parametrize("by", [(), ("node",)])
    def test_at_the_boards(self, by: tuple[str, ...]) -> None:
        """The joules of the boards lack those of the card: its reason names it, and coverage is not low."""
        (item,) = ran(with_card()).items(*by)  # type: ignore[arg-type]

        assert (False, ("gpu_unmeasurable",), (CARD,)) == (item.valid, item.reasons, item.unmeasured_gpus)
        assert 1.0 == item.coverage_ratio

    @pytest.mark.parametrize("boundary", ["node", "facility"])
    @pytest.mark.parametrize("by", [(), ("node",), ("model",), ("workload",)])
    def test_under_a_node_meter(self, boundary: Boundary, by: tuple[str, ...]) -> None:
        """The meter has the joules of all boards: the card is no reason."""
        (item, *_) = ran(with_card()).items(*by, boundary=boundary)  # type: ignore[arg-type]
        watts = NODE_WATTS * (1.25 if boundary == "facility" else 1.0)

        assert (1.0, True, ()) == (item.coverage_ratio, item.valid, item.reasons)
        assert 100.0 / watts == pytest.approx(item.tokens_per_joule)

    @pytest.mark.parametrize("boundary", ["node", "facility"])
    def test_without_a_node_meter(self, boundary: Boundary) -> None:
        """A stated overhead has no joules of the card."""
        fleet = Followed([with_card()])
        fleet.look()
        fleet.run(65.0)

        assert ("gpu_unmeasurable",) == fleet.item(boundary=boundary).reasons

    def test_others_have_their_figures(self) -> None:
        """What runs on other GPUs is not affected."""
        item = ran(with_card()).items("model")[0]

        assert (True, (), ()) == (item.valid, item.reasons, item.unmeasured_gpus)

    def test_ledger(self) -> None:
        """The boards of the ledger lack the card, its joules are part of the rest, and the node is whole."""
        tree = ran(with_card()).tree("node").tree
        (nodes, overhead) = tree.children
        (boards, host) = nodes.children

        assert [True, True, True, False] == [one.valid for one in (tree, nodes, overhead, boards)]
        assert "gpu_unmeasurable" in boards.reasons
        assert "gpu_unmeasurable" in host.children[-1].reasons


class TestHeld:
    def test_by_the_only_work_of_the_node(self) -> None:
        """An engine on all GPUs (`gpus: all`) holds the card: its joules are in the node's."""
        machine = with_card()
        machine.workloads[0].take(CARD)
        fleet = ran(machine)

        assert ("gpu_unmeasurable",) == fleet.item("workload").reasons
        assert (CARD,) == fleet.item("workload").unmeasured_gpus
        for by in ((), ("workload",), ("model",)):
            item = fleet.item(*by, boundary="node")  # type: ignore[arg-type]
            assert (True, ()) == (item.valid, item.reasons)
            assert 100.0 / NODE_WATTS == pytest.approx(item.tokens_per_joule)

    def test_beside_other_work(self) -> None:
        """The node's joules are divided by board joules: the others would get those of the card."""
        fleet = ran(with_card(holder=Workload("other")))

        for by in ((), ("model",), ("workload",)):
            items = fleet.items(*by, boundary="node")  # type: ignore[arg-type]
            assert {False} == {item.valid for item in items}
            assert all("gpu_unmeasurable" in item.reasons for item in items)

    def test_with_a_measured_gpu(self) -> None:
        """Two engines on GPUs of their own, one of them also on the card: only their sum is right."""
        machine = with_card(2)
        machine.workloads[1].take(CARD)
        fleet = ran(machine, 900.0)

        assert [False, False] == [item.valid for item in fleet.items("workload", boundary="node")]
        whole = fleet.item(boundary="node")
        assert (True, 200.0 / 900.0) == (whole.valid, pytest.approx(whole.tokens_per_joule))


class TestFailed:
    def test_a_gpu_that_had_energy_before(self) -> None:
        """A GPU whose energy ends has failed: it is not covered, as before."""
        machine = serving_machine(2, workloads=1)
        fleet = ran(machine)
        machine.gpus[1].has_sensor = False
        fleet.run(60.0, node_watts=NODE_WATTS)
        item = fleet.item()

        assert (0.5, ("coverage_low",), ()) == (
            pytest.approx(item.coverage_ratio, abs=0.05),
            item.reasons,
            item.unmeasured_gpus,
        )

    @pytest.mark.parametrize("state", ["lost", "hung", "error"])
    def test_a_gpu_that_does_not_answer(self, state: str) -> None:
        """Whether a GPU that does not answer can be measured is not known."""
        machine = with_card()
        machine.gpus[1].state = state  # type: ignore[assignment]
        item = ran(machine).item()

        assert (0.5, False, ()) == (item.coverage_ratio, item.valid, item.unmeasured_gpus)
        assert "gpu_unmeasurable" not in item.reasons

    @pytest.mark.parametrize("state", ["lost", "hung", "error"])
    def test_under_a_node_meter(self, state: str) -> None:
        """What a failed GPU used is in the node's joules, and must not be given to the work on others."""
        machine = serving_machine(2, workloads=1)
        machine.gpus[1].state = state  # type: ignore[assignment]
        item = ran(machine).items("workload", boundary="node")[0]

        assert (False, ("gpus_missing",)) == (item.valid, item.reasons)

    @pytest.mark.parametrize("state", ["lost", "hung", "error"])
    def test_joules_that_come_late(self, state: str) -> None:
        """What a GPU used while it did not answer comes at once: not into a window that began meanwhile."""
        machine = serving_machine(2, workloads=2)
        fleet = ran(machine)
        machine.gpus[1].state = state  # type: ignore[assignment]
        fleet.run(60.0, node_watts=NODE_WATTS)
        machine.gpus[1].state = "ok"
        fleet.run(40.0, node_watts=NODE_WATTS)
        during = fleet.items("workload", seconds=60.0)
        fleet.run(45.0, node_watts=NODE_WATTS)
        after = fleet.items("workload", seconds=60.0)

        late = (False, ("coverage_low", "gpus_missing"))
        assert [(True, ()), late] == [(item.valid, item.reasons) for item in during]
        assert [(True, ())] * 2 == [(item.valid, item.reasons) for item in after]
