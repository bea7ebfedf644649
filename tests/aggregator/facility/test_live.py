"""A PUE that is measured now: over which meters, when it is refused, and what stands in for it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs
from support.fleet.agents import Machine, serving_machine
from support.fleet.fleets import Followed
from support.meters.steady_meter import SteadyMeter
from support.servers.asgi import ask

from perwatt_agent.clock import ManualClock
from perwatt_agent.meters.config import MeterConfig
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.facility.config import FacilityConfig, NodeOverheadConfig, PueConfig
from perwatt_aggregator.facility.facility import Facility
from perwatt_aggregator.facility.pue_energies import NodesEnergy
from perwatt_aggregator.facility.shared_meter import SharedMeter
from perwatt_aggregator.facility.shared_meter_config import SharedMeterConfig
from perwatt_aggregator.targets.config import agents_at

RACK = SharedMeterConfig(kind="json", url="http://pdu/", path="w", unit="watts", covers=())


class MeteredBuilding:
    """A building with a meter that writes a file of joules, and a fleet in it that meters itself or not."""

    def __init__(
        self,
        folder: Path,
        pue: PueConfig,
        machines: Sequence[Machine] = (),
        elsewhere: FacilityConfig | None = None,
        **facility: object,
    ) -> None:
        self._file = folder / "meter.csv"
        self._file.write_text("t_unix_s,joules\n")
        meter = MeterConfig(kind="csv", file=self._file, path="joules", unit="joules", interval=60.0)
        live = structs.replace(pue, kind="live", facility_meter=meter)
        config = FacilityConfig("hall", live, **facility)  # type: ignore[arg-type]
        self.fleet = Followed(
            machines or [serving_machine(prefix="A"), serving_machine(prefix="B")],
            FacilityConfig() if elsewhere else config,
            facilities=(config, elsewhere) if elsewhere else (),
        )
        self.fleet.look()
        self.joules = 9e9
        self.facility = self.fleet.aggregator.facilities[0]

    def hang_on_a_meter(self, covers: str) -> SteadyMeter:
        """Hang the nodes on one more meter, of 1200 W."""
        meter = SteadyMeter(self.fleet.clock, 1200.0)
        shared = SharedMeter(structs.replace(RACK, covers=(covers,)), meter, self.fleet.clock, 900.0)
        self.fleet.aggregator.shared_meters = (shared,)
        self.facility = Facility(
            self.facility.config, self.fleet.clock, self.fleet.aggregator.nodes, [shared]
        )
        self.fleet.aggregator.facilities = (self.facility,)
        return meter

    async def run(self, minutes: int, watts: float, node_watts: float = 600.0) -> None:
        for _ in range(minutes):
            self.fleet.run(60.0, node_watts=node_watts)
            self.joules += 60.0 * watts
            with self._file.open("a") as file:
                file.write(f"{self.fleet.clock.unix()},{self.joules}\n")
            for shared in self.fleet.aggregator.shared_meters:
                await shared.poll()
            for source in self.facility.pollers:
                await source.poll()

    async def answer(self) -> dict[str, object]:
        items = (await ask(create_app(self.fleet.aggregator), "/v1/facility")).json()["items"]
        return dict(items[0])

    async def failure_of_it(self) -> str | None:
        """Why the IT energy has no reading."""
        meters = (await self.answer())["meters"]
        (failure,) = [one["failure"] for one in meters if one["meter"] == "it"]  # type: ignore[attr-defined]
        return failure if failure is None else str(failure)


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
        """A UPS that counts kilowatt-hours is the IT meter, regardless of the nodes' meters."""
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
        """The figure at the facility has the PUE that it was computed with."""
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
            for source in building.facility.pollers:
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

    async def test_shared_meter_measures_the_nodes_on_it(self, tmp_path: Path) -> None:
        """Nodes without meters of their own are measured together by the one that they hang on."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6))
        rack = building.hang_on_a_meter("node*")
        await building.run(20, watts=1500.0, node_watts=0.0)
        pue = (await building.answer())["pue"]

        assert ("live", pytest.approx(1.25)) == (pue["kind"], pue["ratio"])  # type: ignore[index]
        rack.watts = None
        await building.run(1, watts=1500.0, node_watts=0.0)
        meters = (await building.answer())["meters"]
        assert ["stale"] == [one["failure"] for one in meters if one["meter"] == "it"]  # type: ignore[attr-defined]

    async def test_shared_meter_beside_a_meter(self, tmp_path: Path) -> None:
        """One node on a shared meter and one with its own are one sum, and neither counts twice."""
        building = MeteredBuilding(tmp_path, PueConfig(1.6))
        building.hang_on_a_meter("node0").watts = 400.0
        await building.run(20, watts=1500.0, node_watts=600.0)
        pue = (await building.answer())["pue"]

        assert ("live", pytest.approx(1500.0 / (400.0 + 600.0))) == (pue["kind"], pue["ratio"])  # type: ignore[index]

    async def test_a_node_that_restarts_makes_no_joule(self, tmp_path: Path) -> None:
        """The reset of a node's counter does not change the PUE."""
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


class TestDuplicates:
    """One machine under two addresses has one meter."""

    async def test_counts_once(self, tmp_path: Path) -> None:
        """A building of 1500 W around two nodes of 600 W has a PUE of 1.25, though one has two addresses."""
        machines = [serving_machine(prefix=prefix) for prefix in "ABA"]
        building = MeteredBuilding(tmp_path, PueConfig(1.6), machines)
        await building.run(20, watts=1500.0)
        item = await building.answer()

        pue = item["pue"]
        assert isinstance(pue, dict)
        assert ("live", pytest.approx(1.25), []) == (pue["kind"], pue["ratio"], item["reasons"])
        figure = building.fleet.item(boundary="facility")
        assert (True, pytest.approx(1500.0 * 60.0)) == (figure.valid, figure.energy_joules)

    async def test_while_one_address_is_silent(self, tmp_path: Path) -> None:
        """The other address does not count in its place, as its meter is that of the time before."""
        machines = [serving_machine(prefix=prefix) for prefix in "ABA"]
        building = MeteredBuilding(tmp_path, PueConfig(1.6), machines)
        await building.run(20, watts=1500.0)
        building.fleet.answering = (1, 2)
        await building.run(10, watts=1500.0)
        pue = (await building.answer())["pue"]

        assert ("live", pytest.approx(1.25)) == (pue["kind"], pue["ratio"])  # type: ignore[index]

    async def test_found_late(self, tmp_path: Path) -> None:
        """What was counted twice before is left out, and the counter of IT energy does not fall."""
        machines = [serving_machine(prefix=prefix) for prefix in "ABC"]
        building = MeteredBuilding(tmp_path, PueConfig(1.6), machines)
        await building.run(20, watts=1500.0)
        before = building.facility.it_joules_total
        machines[2].gpus[0].uuid = machines[0].gpus[0].uuid
        await building.run(2, watts=1500.0)
        pue = (await building.answer())["pue"]

        assert ("live", pytest.approx(1.25)) == (pue["kind"], pue["ratio"])  # type: ignore[index]
        assert (building.facility.it_joules_total or 0.0) > (before or pytest.fail("not measured"))

    async def test_gpu_that_may_have_moved(self, tmp_path: Path) -> None:
        """A GPU that answers only one of two nodes proves nothing: the stated PUE is used, and it is said."""
        machines = [serving_machine(prefix=prefix) for prefix in "ABA"]
        machines[0].gpus[0].state = "lost"
        building = MeteredBuilding(tmp_path, PueConfig(1.6), machines)
        await building.run(20, watts=1500.0)
        item = await building.answer()

        assert ("static", 1.6) == (item["pue"]["kind"], item["pue"]["ratio"])  # type: ignore[index]
        assert "implausible" == await building.failure_of_it()

    async def test_in_another_facility(self, tmp_path: Path) -> None:
        """It is not known in which of them the machine stands: the stated PUE is used, and it is said."""
        machines = [serving_machine(prefix=prefix) for prefix in "ABA"]
        other = FacilityConfig("other", nodes=("node2*",))
        building = MeteredBuilding(tmp_path, PueConfig(1.6), machines, other, nodes=("node0*", "node1*"))
        await building.run(20, watts=1500.0)
        item = await building.answer()

        assert ("static", ["pue_period_short"]) == (item["pue"]["kind"], item["reasons"])  # type: ignore[index]
        assert "implausible" == await building.failure_of_it()

    async def test_under_a_shared_meter(self, tmp_path: Path) -> None:
        """A node under a shared meter counts there, however early its other address is configured."""
        machines = [serving_machine(prefix=prefix) for prefix in "ABA"]
        building = MeteredBuilding(tmp_path, PueConfig(1.6), machines)
        building.hang_on_a_meter("node2").watts = 600.0
        await building.run(20, watts=1500.0)
        pue = (await building.answer())["pue"]

        assert ("live", pytest.approx(1.25)) == (pue["kind"], pue["ratio"])  # type: ignore[index]


async def test_sources_run_beside_the_scrapes(tmp_path: Path) -> None:
    """The inputs of a facility are polled while the aggregator runs, and not after its stop."""
    building = MeteredBuilding(tmp_path, PueConfig())
    await building.fleet.aggregator.start()
    await building.fleet.aggregator.stop()

    assert {"facility", "it"} == {source.input.name for source in building.facility.pollers}


def test_shared_meter_of_two_facilities() -> None:
    """What one meter measures of two facilities is no energy of either; of one it is."""
    live = PueConfig(kind="live", facility_meter=MeterConfig(kind="csv", file=Path("hall.csv")))
    halls = tuple(FacilityConfig(f"hall-{n}", live, nodes=(f"gpu-{n}*",)) for n in "12")
    sources = agents_at(*(f"http://gpu-{n}:9836/metrics" for n in ("1a", "1b", "2a")))

    def histories(*covers: str) -> list[int]:
        meters = (structs.replace(RACK, covers=covers),)
        config = AggregatorConfig(sources, facilities=halls, meters=meters)
        facilities = Aggregator(config, ManualClock()).facilities
        asked = (source.input for one in facilities for source in one.pollers)
        return [len(one.histories) for one in asked if isinstance(one, NodesEnergy)]

    assert [1, 1] == histories("gpu-1*")
    assert [2, 1] == histories("gpu-1a", "gpu-2a")
