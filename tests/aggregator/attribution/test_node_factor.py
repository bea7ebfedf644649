"""Node factor: the order of its sources, and the fleet's figure if not every node is reachable."""

import pytest
from support.fleet.agents import Machine, serving_machine
from support.fleet.fleets import BARE, FACILITY, Followed

from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_aggregator.facility.config import FacilityConfig, PueConfig


def fleet_of(*watts: float, facility: FacilityConfig = BARE, model: str = "llama") -> Followed:
    """A node for each of *watts* at its meter, 0 for no meter, after a minute."""
    machines = [serving_machine(prefix=f"N{index}") for index in range(len(watts))]
    fleet = Followed(machines, facility)
    for machine, own in zip(machines, watts, strict=True):
        machine.workloads[0].model = model
        machine.meter = NodeMeterSnapshot("ipmi", 0.0, 0.0) if own else None
    fleet.look()
    for _ in range(12):
        for machine, own in zip(machines, watts, strict=True):
            machine.run(5.0, node_watts=own)
        fleet.clock.advance(5.0)
        fleet.look()
    return fleet


class TestFleetFigure:
    def test_half_without_a_meter(self) -> None:
        """With half of the nodes unmetered, the fleet has no figure at the node; metered nodes have."""
        fleet = fleet_of(900.0, 900.0, 0.0, 0.0)
        whole, nodes = fleet.item(boundary="node"), fleet.items("node", boundary="node")

        assert (None, None, False) == (whole.energy_joules, whole.tokens_per_joule, whole.valid)
        assert "no_node_meter" in whole.reasons
        assert [True, True, False, False] == [item.valid for item in nodes]
        assert fleet.item().valid

    def test_half_estimated(self) -> None:
        """With a stated overhead, the node without a meter is an estimate, and so is the sum."""
        item = fleet_of(900.0, 900.0, 0.0, 0.0, facility=FACILITY).item(boundary="node")

        assert 2 * 900.0 + 2 * 300.0 * 1.8 == pytest.approx(item.power_watts)
        assert (True, ("counter", "estimated", "integrated")) == (item.valid, item.provenance)

    def test_one_model_with_and_without(self) -> None:
        """One model over a metered and an unmetered node has a board figure, but none at the node."""
        fleet = fleet_of(900.0, 0.0)
        board, node = fleet.item("model"), fleet.item("model", boundary="node")

        assert 12000 / 36000 == pytest.approx(board.tokens_per_joule)
        assert (None, 12000) == (node.tokens_per_joule, node.tokens.output)
        assert "no_node_meter" in node.reasons

    def test_tokens_without_joules(self) -> None:
        """The tokens of a node whose GPUs are not measured are in no figure: no joules go with them."""
        fleet = fleet_of(900.0, 900.0)
        blind = Machine([], serving_machine(prefix="X").workloads)
        blind.workloads[0].joules.clear()
        blind.workloads[0].model = "blind"
        both = Followed([fleet.machines[0], blind], BARE)
        both.look()
        for _ in range(12):
            fleet.machines[0].run(5.0)
            blind.run(5.0)
            both.clock.advance(5.0)
            both.look()
        llama, lost = (
            next(item for item in both.items("model") if item.group["model"] == name)
            for name in ("llama", "blind")
        )

        assert 100 / 300 == pytest.approx(llama.tokens_per_joule)
        assert (None, None, False) == (lost.energy_joules, lost.tokens_per_joule, lost.valid)
        assert "no_energy" in lost.reasons
        assert 18000.0 == both.tree().energy_joules
        whole = both.item()
        assert (100 / 300, 6000) == (pytest.approx(whole.tokens_per_joule), whole.tokens.output)
        assert "tokens_uncovered" in whole.reasons


class TestMeter:
    def test_source_changed(self) -> None:
        """A change of source in the window gives a reason; the joules of both sources count."""
        fleet = fleet_of(900.0, facility=FacilityConfig(pue=PueConfig(1.2)))
        fleet.machines[0].meter = NodeMeterSnapshot("redfish", 0.0, 0.0)
        fleet.run(30.0, node_watts=900.0)
        item = fleet.item(boundary="node")

        assert ("source_changed" in item.reasons, pytest.approx(900.0)) == (True, item.power_watts)

    def test_one_source_is_no_change(self) -> None:
        """Without a change of source there is no such reason."""
        assert "source_changed" not in fleet_of(900.0).item(boundary="node").reasons

    @pytest.mark.parametrize(("period_seconds", "enough"), [(5.0, True), (6.0, True), (7.0, False)])
    def test_ten_refreshes(self, period_seconds: float, enough: bool) -> None:
        """A meter with a known period needs ten periods in the window."""
        machine = serving_machine()
        machine.meter_period_seconds = period_seconds
        machine.meter = NodeMeterSnapshot("ipmi", 0.0, 0.0)
        fleet = Followed([machine], BARE)
        fleet.look()
        fleet.run(60.0, node_watts=900.0)

        assert enough == ("too_few_meter_refreshes" not in fleet.item(boundary="node").reasons)
