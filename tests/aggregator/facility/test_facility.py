"""The facility boundary: PUE multiplies once, and each node stands in a facility of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet.agents import serving_machine
from support.fleet.fleets import Followed
from support.servers.asgi import ask

from perwatt.tables import answer_text
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.facility.config import (
    CarbonConfig,
    FacilityConfig,
    ItConfig,
    NodeOverheadConfig,
    PriceConfig,
    PueConfig,
)
from perwatt_aggregator.schema.common import BOUNDARIES, Dimension

KWH = 3.6e6
SOUTH = FacilityConfig(
    "south", PueConfig(1.5), NodeOverheadConfig(2.0), PriceConfig("EUR", 0.30), nodes=("node0*",)
)
NORTH = FacilityConfig("north", PueConfig(1.1), NodeOverheadConfig(2.0), PriceConfig("EUR", 0.05))


def pair(*facilities: FacilityConfig) -> Followed:
    """Two nodes of one GPU each, 300 W and 100 tokens/s, over a minute."""
    machines = [serving_machine(prefix="A"), serving_machine(prefix="B")]
    fleet = Followed(machines, FacilityConfig(), facilities=facilities)
    fleet.look()
    fleet.run(60.0)
    return fleet


class TestSeveral:
    def test_each_node_has_the_pue_of_its_own(self) -> None:
        """A sum over facilities takes each joule at its own PUE and price."""
        item = pair(SOUTH, NORTH).item("model", boundary="facility")
        south, north = 36000.0 * 1.5, 36000.0 * 1.1

        assert south + north == pytest.approx(item.energy_joules)
        assert (None, ("several_facilities",), True) == (item.pue, item.reasons, item.valid)
        assert item.cost is not None
        assert (south * 0.30 + north * 0.05) / KWH == pytest.approx(item.cost.amount)

    def test_by_node(self) -> None:
        """By node each has its one PUE."""
        items = pair(SOUTH, NORTH).items("node", boundary="facility")

        assert [1.5, 1.1] == [item.pue.ratio for item in items if item.pue is not None]

    def test_one_without_a_pue_takes_the_sum_away(self) -> None:
        """A sum that silently lacks a facility is another quantity."""
        item = pair(SOUTH, FacilityConfig("north", None, NodeOverheadConfig(2.0))).item(boundary="facility")

        assert (None, False, "no_pue" in item.reasons) == (item.energy_joules, item.valid, True)
        assert (None, "no_price" in item.reasons) == (item.cost, True)

    def test_currencies_are_never_added(self) -> None:
        """Euros and dollars have no sum; by node each has its own."""
        dollars = FacilityConfig("north", PueConfig(1.1), NodeOverheadConfig(2.0), PriceConfig("USD", 0.05))
        fleet = pair(SOUTH, dollars)
        whole = fleet.item(boundary="facility")

        assert (None, True, True) == (whole.cost, "several_currencies" in whole.reasons, whole.valid)
        assert ["EUR", "USD"] == [
            item.cost.currency for item in fleet.items("node", boundary="facility") if item.cost
        ]

    def test_average_and_marginal_are_never_added(self) -> None:
        """A marginal intensity is up to 32 times the average one: another quantity."""
        both = [
            FacilityConfig(
                "a", PueConfig(1.5), NodeOverheadConfig(2.0), nodes=("node0",), carbon=CarbonConfig(9.0)
            ),
            FacilityConfig(
                "b", PueConfig(1.5), NodeOverheadConfig(2.0), carbon=CarbonConfig(9.0, "marginal")
            ),
        ]
        item = pair(*both).item(boundary="facility")

        assert (None, True) == (item.carbon, "several_carbon_kinds" in item.reasons)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1.0, 3.0), st.floats(1.0, 2.5), st.floats(50.0, 900.0), st.integers(1, 3)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([(), ("node",), ("model",), ("workload",), ("gpu",), ("model", "node")]),
)
def test_pue_multiplies_once(fleet: list[tuple[float, float, float, int]], by: tuple[Dimension, ...]) -> None:
    """
    Over any fleet and grouping: joules at the facility are those at each node times its PUE, and those at
    the boards are what the boards counted. A path that multiplied twice, or a board, would show here.
    """
    machines = [serving_machine(gpus, f"{place}-GPU") for place, (_, _, _, gpus) in enumerate(fleet)]
    facilities = [
        FacilityConfig(f"f{place}", PueConfig(pue), NodeOverheadConfig(overhead), nodes=(f"node{place}",))
        for place, (pue, overhead, _, _) in enumerate(fleet)
    ]
    followed = Followed(machines, FacilityConfig(), facilities=facilities)
    followed.look()
    for _ in range(12):
        for machine, (_, _, watts, _) in zip(machines, fleet, strict=True):
            machine.run(5.0, watts=watts)
        followed.clock.advance(5.0)
        followed.look()
    board, node, whole = (
        sum(item.energy_joules or 0.0 for item in followed.items(*by, boundary=boundary))
        for boundary in BOUNDARIES
    )

    assert sum(60.0 * watts * gpus for _, _, watts, gpus in fleet) == pytest.approx(board, rel=1e-9)
    assert sum(60.0 * watts * gpus * k for _, k, watts, gpus in fleet) == pytest.approx(node, rel=1e-9)
    assert sum(60.0 * watts * gpus * k * pue for pue, k, watts, gpus in fleet) == pytest.approx(
        whole, rel=1e-9
    )
    for one in followed.aggregator.facility_answer().items:
        assert one.pue is not None
        assert one.node_energy_joules is not None
        assert one.facility_energy_joules is not None
        assert one.overhead_joules is not None
        overhead = (one.pue.ratio - 1.0) * one.node_energy_joules
        assert overhead == pytest.approx(one.overhead_joules, abs=1e-9 * one.node_energy_joules)
        assert one.node_energy_joules + one.overhead_joules == pytest.approx(one.facility_energy_joules)


def test_joules_are_those_of_the_ledger() -> None:
    """What waits for an engine's next page was taken too: joules over the window are the meter's watts."""
    machine = serving_machine()
    fleet = Followed([machine], FacilityConfig(pue=PueConfig(1.5)))
    fleet.look()
    fleet.run(60.0, node_watts=900.0)
    serving, machine.workloads = machine.workloads, []
    machine.run(10.0, node_watts=900.0)
    machine.gpus[0].unallocated_joules = 0.0
    machine.workloads = serving
    fleet.clock.advance(10.0)
    fleet.look()
    (item,), tree = fleet.aggregator.facility_answer().items, fleet.tree()

    assert item.window is not None
    assert item.node_energy_joules is not None
    assert 900.0 == pytest.approx(item.node_energy_joules / item.window.seconds)
    assert (tree.window, tree.energy_joules) == (item.window, item.facility_energy_joules)


def test_what_was_stated_is_what_is_shown() -> None:
    """A price and an intensity for a kilowatt-hour come back to the last digit."""
    facility = FacilityConfig(price=PriceConfig("EUR", 0.25), carbon=CarbonConfig(413.7))
    (item,) = pair(facility).aggregator.facility_answer().items

    assert item.price is not None
    assert item.carbon is not None
    assert (0.25, 413.7) == (item.price.per_kwh, item.carbon.grams_co2e_per_kwh)


def test_it_is_named() -> None:
    """Whether switches and storage count as IT is part of the answer."""
    fleet = Followed([serving_machine()], FacilityConfig(pue=PueConfig(1.2), it=ItConfig(switches="in")))
    (item,) = fleet.aggregator.facility_answer().items

    assert item.it is not None
    assert ("in", "out") == (item.it.switches, item.it.storage)


async def test_as_a_table() -> None:
    """`perwatt query facility` shows one line a facility, and what its reasons mean."""
    body = (await ask(create_app(pair(SOUTH, NORTH).aggregator), "/v1/facility")).json()
    lines = answer_text("facility", body["items"]).splitlines()

    assert ["south", "1.5", "static"] == lines[1].split()[:3]
    assert ["north", "1.1", "static"] == lines[2].split()[:3]
