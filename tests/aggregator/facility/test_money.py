"""Cost and emissions of a facility's joules: golden figures, queried prices, hourly carbon."""

from pathlib import Path

import pytest
from support.fleet.agents import Gpu, Machine, Workload, serving_machine
from support.fleet.fleets import Followed

from perwatt_aggregator.facility.config import (
    CapitalConfig,
    CarbonConfig,
    FacilityConfig,
    NodeOverheadConfig,
    PriceConfig,
    PueConfig,
    RateConfig,
)

KWH = 3.6e6


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


class TestPolled:
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
            for source in facility.pollers:
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

    @pytest.mark.parametrize(("told", "grams"), [("380", 380.0), ("-5", None), ("380000", None)])
    async def test_carbon_as_told(self, tmp_path: Path, told: str, grams: float | None) -> None:
        """An intensity below zero, or above that of any grid, is rejected."""
        place = tmp_path / "carbon.csv"
        query = RateConfig(kind="csv", file=place, path="grams", interval=60.0)
        fleet = Followed([serving_machine()], FacilityConfig(carbon=CarbonConfig(query=query)))
        place.write_text(f"t_unix_s,grams\n{fleet.clock.unix()},{told}\n")
        await fleet.aggregator.facilities[0].pollers[0].poll()
        (item,) = fleet.aggregator.facility_answer().items

        assert grams == (item.carbon.grams_co2e_per_kwh if item.carbon else None)
        assert [grams is not None] == [meter.up for meter in item.meters]

    async def test_carbon_by_the_hour(self, tmp_path: Path) -> None:
        """The hour's intensity, and none beyond the file."""
        path = tmp_path / "carbon.csv"
        fleet_start = 1_800_000_000
        path.write_text(f"time,grams_co2e_per_kwh\n{fleet_start},350\n")
        carbon = CarbonConfig(kind="marginal", file=path)
        fleet = Followed([serving_machine()], FacilityConfig(carbon=carbon))
        for source in fleet.aggregator.facilities[0].pollers:
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
