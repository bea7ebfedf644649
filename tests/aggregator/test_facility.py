"""The facility boundary: PUE once, each node by its own facility, money and carbon, and who is asked."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.agents import Gpu, Machine, Workload, serving_machine
from support.asgi import ask
from support.fleets import Followed

from perwatt.tables import answer_text
from perwatt_agent.meters.config import MeterConfig
from perwatt_aggregator.api import create_app
from perwatt_aggregator.facility.config import (
    CapitalConfig,
    CarbonConfig,
    FacilityConfig,
    ItConfig,
    NodeOverheadConfig,
    PriceConfig,
    PueConfig,
    RateConfig,
)

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


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1.0, 3.0), st.floats(1.0, 2.5), st.floats(50.0, 900.0), st.integers(1, 3)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([(), ("node",), ("model",), ("workload",), ("gpu",), ("model", "node")]),
)
def test_pue_multiplies_once(fleet: list[tuple[float, float, float, int]], by: tuple[str, ...]) -> None:
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
        sum(item.energy_joules or 0.0 for item in followed.items(*by, boundary=boundary))  # type: ignore[arg-type]
        for boundary in ("gpu_board", "node", "facility")
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


class TestMoney:
    def test_golden_energy_cost(self) -> None:
        """0.1014859 kWh/Mtoken at PUE 1.5 is $0.0101 at $0.10, on the MLPerf node of the golden chain."""
        machine = Machine([Gpu("GPU-0")])
        engine = Workload("mlperf", model="llama-2-70b")
        engine.take("GPU-0", active=1.0)
        machine.workloads.append(engine)
        fleet = Followed([machine], FacilityConfig(pue=PueConfig(1.5), price=PriceConfig("USD", 0.10)))
        fleet.look()
        fleet.run(60.0, watts=450.0, tokens_per_second=25262.1, node_watts=6152.984435173)
        item = fleet.item("model", boundary="facility")

        assert item.cost is not None
        assert 0.01014859 == pytest.approx(item.cost.per_million_output_tokens, rel=2e-6)
        assert 2.737111 == pytest.approx(item.tokens_per_joule, rel=1e-6)

    def test_golden_tokens_per_megawatt(self) -> None:
        """
        An H100 of 1.73 kW and $1.30/h all in, at 900 000 tokens/s/MW: 1557 tokens/s, 1.1111 J/token and
        $0.23193/Mtoken.
        """
        machine = serving_machine()
        fleet = Followed(
            [machine],
            FacilityConfig(
                pue=PueConfig(1.0), price=PriceConfig("USD", 0.0), capital=CapitalConfig(per_gpu_hour=1.30)
            ),
        )
        fleet.look()
        fleet.run(60.0, watts=700.0, tokens_per_second=1557.0, node_watts=1730.0)
        item = fleet.item("model", boundary="facility")

        assert 900_000.0 == pytest.approx((item.tokens_per_joule or 0.0) * 1e6)
        assert 1.1111 == pytest.approx(item.joules_per_token, rel=1e-4)
        assert item.cost is not None
        assert item.cost.total is not None
        assert 0.23193 == pytest.approx(item.cost.total.per_million_output_tokens, rel=1e-4)

    def test_per_request_stands_beside_per_token(self) -> None:
        """The same joules over the requests that ended well."""
        facility = FacilityConfig(
            pue=PueConfig(1.25),
            node_overhead=NodeOverheadConfig(1.8),
            price=PriceConfig("USD", 0.10),
            carbon=CarbonConfig(400.0, "marginal"),
        )
        fleet = Followed([serving_machine()], facility)
        fleet.look()
        fleet.run(60.0)
        item = fleet.item("workload", boundary="facility")
        joules = 300.0 * 60.0 * 1.8 * 1.25

        assert (joules / 60, joules / 60 / 3600) == (
            pytest.approx(item.joules_per_request),
            pytest.approx(item.watt_hours_per_request),
        )
        assert item.cost is not None
        assert item.carbon is not None
        assert (joules / KWH * 0.10 / 60, joules / KWH * 400.0 / 60) == (
            pytest.approx(item.cost.per_request),
            pytest.approx(item.carbon.per_request),
        )
        assert joules / KWH * 400.0 / 6000 * 1e6 == pytest.approx(item.carbon.per_million_output_tokens)
        assert ("marginal", None, None) == (item.carbon.kind, item.cost.capital, item.cost.total)

    def test_capital_of_a_shared_gpu_counts_once(self) -> None:
        """However a fleet is grouped, its GPUs cost what they cost, held or not."""
        machine = serving_machine(gpus=3)
        for name in ("chat-1", "chat-2"):
            other = Workload(name)
            other.take("GPU-0")
            machine.workloads.append(other)
        capital = CapitalConfig(per_gpu_hour=1.2)
        fleet = Followed(
            [machine],
            FacilityConfig(
                pue=PueConfig(1.2),
                node_overhead=NodeOverheadConfig(1.8),
                price=PriceConfig("EUR", 0.1),
                capital=capital,
            ),
        )
        fleet.look()
        fleet.run(60.0)

        for by in ((), ("workload",), ("gpu",), ("model",)):
            costs = [item.cost for item in fleet.items(*by, boundary="facility")]  # type: ignore[arg-type]
            assert 3 * 1.2 / 60 == pytest.approx(
                sum(cost.capital.amount for cost in costs if cost and cost.capital)
            )


class MeteredBuilding:
    """A building with a meter that writes a file of joules, and a fleet in it that meters itself or not."""

    def __init__(self, folder: Path, pue: PueConfig, **facility: object) -> None:
        self._file = folder / "meter.csv"
        self._file.write_text("t_unix_s,joules\n")
        meter = MeterConfig(kind="csv", file=self._file, path="joules", unit="joules", interval=60.0)
        live = structs.replace(pue, kind="live", facility_meter=meter)
        config = FacilityConfig("hall", live, **facility)  # type: ignore[arg-type]
        self.fleet = Followed([serving_machine(prefix="A"), serving_machine(prefix="B")], config)
        self.fleet.look()
        self.joules = 9e9
        (self.facility,) = self.fleet.aggregator.facilities

    async def run(self, minutes: int, watts: float, node_watts: float = 600.0) -> None:
        for _ in range(minutes):
            self.fleet.run(60.0, node_watts=node_watts)
            self.joules += 60.0 * watts
            with self._file.open("a") as file:
                file.write(f"{self.fleet.clock.unix()},{self.joules}\n")
            for source in self.facility.sources:
                await source.poll()

    async def answer(self) -> dict[str, object]:
        (item,) = (await ask(create_app(self.fleet.aggregator), "/v1/facility")).json()["items"]
        return dict(item)


class TestLive:
    async def test_measured_over_the_nodes_own_meters(self, tmp_path: Path) -> None:
        """A building of 1500 W around nodes of 1200 W has a PUE of 1.25, once 15 minutes are known."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6, category=3))
        await building.run(10, watts=1500.0)
        early = await building.answer()
        await building.run(10, watts=1500.0)
        item = await building.answer()

        assert ("static", ["pue_period_short"]) == (early["pue"]["kind"], early["reasons"])  # type: ignore[index]
        pue, energies = item["pue"], item["pue_energies"]
        assert isinstance(pue, dict)
        assert isinstance(energies, dict)
        assert ("live", 3, True, []) == (pue["kind"], pue["category"], item["valid"], item["reasons"])
        assert 1.25 == pytest.approx(pue["ratio"])
        assert pue["period_seconds"] >= 900.0
        assert 1.25 == pytest.approx(energies["facility_energy_joules"] / energies["it_energy_joules"])
        assert 0.25 * 1200.0 * 60.0 == pytest.approx(item["overhead_joules"])

    async def test_measured_over_a_meter_of_it(self, tmp_path: Path) -> None:
        """A UPS that counts kilowatt-hours is IT's meter, whatever the nodes have."""
        ups = tmp_path / "ups.csv"
        ups.write_text("t_unix_s,kwh\n")
        it_meter = MeterConfig(kind="csv", file=ups, path="kwh", unit="kilowatt_hours", interval=60.0)
        building = MeteredBuilding(
            tmp_path, PueConfig(it_meter=it_meter), node_overhead=NodeOverheadConfig(1.8)
        )
        for minute in range(20):
            with ups.open("a") as file:
                file.write(f"{building.fleet.clock.unix() + 60.0},{1000.0 + minute * 1.25 / 60.0}\n")
            await building.run(1, watts=1500.0, node_watts=0.0)
        pue = (await building.answer())["pue"]

        assert isinstance(pue, dict)
        assert ("live", 1.2) == (pue["kind"], pytest.approx(pue["ratio"]))

    async def test_efficiency_uses_it(self, tmp_path: Path) -> None:
        """The figure at the facility says which PUE it was made with."""
        building = MeteredBuilding(tmp_path, PueConfig())
        await building.run(20, watts=1500.0)
        item = building.fleet.item(boundary="facility")

        assert item.pue is not None
        assert ("live", 1200.0 * 60.0 * 1.25) == (item.pue.kind, pytest.approx(item.energy_joules))

    async def test_it_grows_old_between_readings(self, tmp_path: Path) -> None:
        """The age is that of the moment of the answer."""
        building = MeteredBuilding(tmp_path, PueConfig())
        await building.run(20, watts=1500.0)
        ages = []
        for _ in range(3):
            ages.append((building.facility.measured() or pytest.fail("nothing measured")).age_seconds)
            building.fleet.clock.advance(25.0)

        assert [0.0, 25.0, 50.0] == ages

    async def test_below_one_falls_back(self, tmp_path: Path) -> None:
        """A meter that shows less than its nodes is refused, and it is said."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6))
        await building.run(20, watts=1000.0)
        item = await building.answer()

        assert (1.6, "static") == (item["pue"]["ratio"], item["pue"]["kind"])  # type: ignore[index]
        assert ("live", ["pue_below_one"], True) == (item["pue_asked"], item["reasons"], item["valid"])

    async def test_stale_falls_back(self, tmp_path: Path) -> None:
        """A meter that falls silent for longer than an hour takes its PUE with it."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6))
        await building.run(20, watts=1500.0)
        for _ in range(70):
            building.fleet.run(60.0, node_watts=600.0)
            for source in building.facility.sources:
                await source.poll()
        item = await building.answer()
        meters = {one["meter"]: (one["up"], one["failure"]) for one in item["meters"]}  # type: ignore[attr-defined]

        assert ["pue_stale"] == item["reasons"]
        assert {"facility": (False, "stale"), "it": (True, None)} == meters

    async def test_nodes_without_meters_are_no_it_energy(self, tmp_path: Path) -> None:
        """Without a meter at every node there is no IT energy, however the nodes are estimated."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6), node_overhead=NodeOverheadConfig(1.8))
        await building.run(20, watts=1500.0, node_watts=0.0)
        item = await building.answer()

        assert (None, ["pue_period_short"]) == (item["pue_energies"], item["reasons"])
        assert building.facility.it_joules_total is None

    async def test_a_node_that_restarts_makes_no_joule(self, tmp_path: Path) -> None:
        """A node's counter that starts anew leaves the PUE what it was."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6))
        await building.run(50, watts=1500.0)
        building.fleet.machines[0].meter = None
        await building.run(5, watts=1500.0)
        pue = (await building.answer())["pue"]

        assert isinstance(pue, dict)
        assert ("live", 1.25) == (pue["kind"], pytest.approx(pue["ratio"], rel=1e-6))

    async def test_metrics(self, tmp_path: Path) -> None:
        """Both energies are counters, and each meter has its health."""
        building = MeteredBuilding(tmp_path, PueConfig(category=2))
        await building.run(20, watts=1500.0)
        body = (await ask(create_app(building.fleet.aggregator), "/metrics")).body.decode()
        lines = dict(line.rsplit(" ", 1) for line in body.splitlines() if line.startswith("perwatt_facility"))

        assert "1.0" == lines['perwatt_facility_pue_info{facility="hall",kind="live"}']
        assert "2.0" == lines['perwatt_facility_pue_category{facility="hall"}']
        assert "0.0" == lines['perwatt_facility_pue_age_seconds{facility="hall"}']
        assert 1.25 == pytest.approx(float(lines['perwatt_facility_pue_ratio{facility="hall"}']))
        assert 18 * 90_000.0 == float(lines['perwatt_facility_energy_joules_total{facility="hall"}'])
        assert 0.0 < float(lines['perwatt_facility_it_energy_joules_total{facility="hall"}'])
        assert "1.0" == lines['perwatt_facility_meter_success{facility="hall",meter="it"}']
        assert (
            'perwatt_facility_meter_last_success_timestamp_seconds{facility="hall",meter="facility"}' in lines
        )


class TestAsked:
    @staticmethod
    def fleet(tmp_path: Path, per_kwh: float | None) -> Followed:
        place = tmp_path / "price.csv"
        place.write_text("t_unix_s,eur_per_mwh\n")
        query = RateConfig(
            kind="csv", file=place, path="eur_per_mwh", per="megawatt_hour", max_age=3600.0, interval=60.0
        )
        price = PriceConfig("EUR", per_kwh, query=query)
        fleet = Followed(
            [serving_machine()],
            FacilityConfig(pue=PueConfig(1.2), node_overhead=NodeOverheadConfig(2.0), price=price),
        )
        fleet.look()
        fleet.run(60.0)
        return fleet

    async def tell(self, fleet: Followed, tmp_path: Path, price: str) -> None:
        with (tmp_path / "price.csv").open("a") as file:
            file.write(f"{fleet.clock.unix()},{price}\n")
        for facility in fleet.aggregator.facilities:
            for source in facility.sources:
                await source.poll()

    async def test_price_as_told(self, tmp_path: Path) -> None:
        """A price per megawatt-hour, and one below zero, is what it is."""
        fleet = self.fleet(tmp_path, None)
        for told, per_kwh in (("85.5", 0.0855), ("-20", -0.02)):
            await self.tell(fleet, tmp_path, told)
            item = fleet.item(boundary="facility")

            assert item.cost is not None
            assert 300.0 * 60.0 * 2.0 * 1.2 / KWH * per_kwh == pytest.approx(item.cost.amount)

    @pytest.mark.parametrize("per_kwh", [None, 0.3])
    async def test_stale(self, tmp_path: Path, per_kwh: float | None) -> None:
        """A price that is too old is refused; the stated one stands in for it, if there is one."""
        fleet = self.fleet(tmp_path, per_kwh)
        await self.tell(fleet, tmp_path, "85.5")
        fleet.run(3700.0)
        (item,) = fleet.aggregator.facility_answer().items

        assert ("price_stale",) == item.reasons
        assert (None if per_kwh is None else "flat") == (item.price.kind if item.price else None)

    @pytest.mark.parametrize("told", ["nan", "1e400", "cheap"])
    async def test_garbage(self, tmp_path: Path, told: str) -> None:
        """What is no number is no price."""
        fleet = self.fleet(tmp_path, None)
        await self.tell(fleet, tmp_path, told)
        (item,) = fleet.aggregator.facility_answer().items

        assert item.price is None
        assert [False] == [meter.up for meter in item.meters]

    async def test_carbon_by_the_hour(self, tmp_path: Path) -> None:
        """The hour's intensity, and none beyond the file."""
        path = tmp_path / "carbon.csv"
        fleet_start = 1_800_000_000
        path.write_text(f"time,grams_co2e_per_kwh\n{fleet_start},350\n")
        carbon = CarbonConfig(kind="marginal", file=path)
        fleet = Followed([serving_machine()], FacilityConfig(carbon=carbon))
        for source in fleet.aggregator.facilities[0].sources:
            await source.poll()
        fleet.clock.advance(600.0)
        (within,) = fleet.aggregator.facility_answer().items
        fleet.clock.advance(7200.0)
        (after,) = fleet.aggregator.facility_answer().items

        assert within.carbon is not None
        assert (350.0, "marginal", "file") == (
            pytest.approx(within.carbon.grams_co2e_per_kwh),
            within.carbon.kind,
            within.carbon.source,
        )
        assert (None, True) == (after.carbon, "carbon_stale" in after.reasons)


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


async def test_sources_run_beside_the_scrapes(tmp_path: Path) -> None:
    """What a facility is asked for is asked while the aggregator runs, and ends with it."""
    building = MeteredBuilding(tmp_path, PueConfig())
    await building.fleet.aggregator.start()
    await building.fleet.aggregator.stop()

    assert {"facility", "it"} == {source.asked.name for source in building.facility.sources}
