"""Boundaries of an efficiency answer: golden chains from boards to node and facility."""

import pytest
from support.fleet.agents import Gpu, Machine, Workload, serving_machine
from support.fleet.fleets import BARE, FACILITY, Followed

from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_aggregator.facility.config import FacilityConfig, PueConfig


def steady(machine: Machine | None = None, facility: FacilityConfig = FACILITY, **rates: float) -> Followed:
    fleet = Followed([machine or serving_machine()], facility)
    fleet.look()
    fleet.run(60.0, **rates)
    return fleet


class TestGoldenChain:
    """MLPerf v4.1, 8 x H200, Llama-2-70B Offline: 6152.984435173 W at the node, 25262.1 tokens/s."""

    @staticmethod
    def chain(pue: float) -> Followed:
        machine = Machine([Gpu(f"GPU-{index}") for index in range(8)])
        engine = Workload("mlperf", model="llama-2-70b")
        for gpu in machine.gpus:
            engine.take(gpu.uuid, active=1.0)
        machine.workloads.append(engine)
        return steady(
            machine,
            FacilityConfig(pue=PueConfig(pue)),
            watts=450.0,
            tokens_per_second=25262.1,
            node_watts=6152.984435173,
        )

    def test_node(self) -> None:
        """The published run, at the node."""
        item = self.chain(1.1).item(boundary="node")

        assert 0.243566 == pytest.approx(item.joules_per_token, abs=5e-7)
        assert 4.105666 == pytest.approx(item.tokens_per_joule, abs=5e-7)
        assert 67.6572 == pytest.approx(item.watt_hours_per_million_tokens, abs=5e-5)
        assert 6152.984435173 == pytest.approx(item.power_watts, rel=1e-9)
        assert (True, ()) == (item.valid, item.reasons)

    @pytest.mark.parametrize(
        ("pue", "joules_per_token", "kwh_per_mtok"),
        [
            (1.10, 0.267922, None),
            (1.15, 0.280101, 0.0778058),
            (1.5, 0.365349, 0.1014859),
            (1.88, 0.457904, 0.1271955),
        ],
    )
    def test_facility(self, pue: float, joules_per_token: float, kwh_per_mtok: float | None) -> None:
        """PUE multiplies the joules at the node, once."""
        item = self.chain(pue).item(boundary="facility")

        assert joules_per_token == pytest.approx(item.joules_per_token, abs=5.1e-7)
        if kwh_per_mtok is not None:
            assert kwh_per_mtok * 1000.0 == pytest.approx(item.watt_hours_per_million_tokens, rel=2e-6)

    def test_boards_take_no_pue(self) -> None:
        """The board boundary stays what the boards measured."""
        assert 8 * 450.0 == pytest.approx(self.chain(1.88).item(boundary="gpu_board").power_watts)


class TestBoundaries:
    def test_no_meter_is_said(self) -> None:
        """Without a meter or a stated overhead there is no node figure, and no facility figure."""
        fleet = steady(facility=BARE)
        node, facility = fleet.item(boundary="node"), fleet.item(boundary="facility")

        assert (None, None, False) == (node.energy_joules, node.tokens_per_joule, node.valid)
        assert ("no_node_meter",) == node.reasons
        assert ("no_node_meter", "no_pue") == tuple(sorted(facility.reasons))

    def test_overhead_is_an_estimate(self) -> None:
        """A stated overhead builds the node from its boards, and is called estimated."""
        fleet = steady()
        board, node = fleet.item(), fleet.item(boundary="node")

        assert 1.8 * (board.energy_joules or 0.0) == pytest.approx(node.energy_joules)
        assert (("counter",), ("counter", "estimated")) == (board.provenance, node.provenance)

    def test_a_meter_beats_the_overhead(self) -> None:
        """What is measured is never replaced by an estimate."""
        node = steady(node_watts=700.0).item(boundary="node")

        assert 700.0 == pytest.approx(node.power_watts)
        assert ("counter", "integrated") == node.provenance

    def test_rest_of_the_node_goes_by_board_joules(self) -> None:
        """Two GPUs with equal joules have half of the node each, with and without holders."""
        fleet = steady(serving_machine(gpus=2), node_watts=1000.0)
        halves = fleet.items("gpu", boundary="node")

        assert [500.0, 500.0] == [pytest.approx(item.power_watts) for item in halves]

    def test_node_without_boards(self) -> None:
        """On a node with only a meter, all of its energy belongs to the known work."""
        machine = Machine([], [Workload("mlperf")])
        machine.meter = NodeMeterSnapshot("csv", 0.0, 0.0)
        fleet = steady(machine, node_watts=1000.0)
        node = fleet.item(boundary="node")

        assert 1000.0 == pytest.approx(node.power_watts)
        assert 0.1 == pytest.approx(node.tokens_per_joule)
        assert (True, ("integrated",)) == (node.valid, node.provenance)
        assert "no_energy" in fleet.item(boundary="gpu_board").reasons

    def test_meter_below_boards(self) -> None:
        """A meter that shows less than the boards does not measure the whole node."""
        assert "node_meter_below_boards" in steady(node_watts=200.0).item(boundary="node").reasons

    def test_price_and_carbon(self) -> None:
        """Cost and carbon are of the facility's joules, and only at that boundary."""
        fleet = steady()
        item = fleet.item(boundary="facility")
        kwh = 300.0 * 60.0 * 1.8 * 1.25 / 3.6e6

        assert item.cost is not None
        assert item.carbon is not None
        assert (kwh * 0.10, kwh * 400.0) == (
            pytest.approx(item.cost.amount),
            pytest.approx(item.carbon.grams_co2e),
        )
        assert kwh * 0.10 / 6000.0 * 1e6 == pytest.approx(item.cost.per_million_output_tokens)
        assert fleet.item(boundary="node").cost is None
