"""Ledger: the leaf of each joule, and why a leaf is null."""

import pytest
from msgspec.structs import replace
from support.fleet.agents import Gpu, Machine, Workload, job, serving_machine
from support.fleet.fleets import BARE, FACILITY, Followed
from support.fleet.ledger_trees import entries, flat, joules
from support.servers.asgi import ask

from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_aggregator.answers.ledger.active_shares import active_shares
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.facility.config import FacilityConfig, PriceConfig, PueConfig
from perwatt_aggregator.readings.objectives import SloConfig
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.readings.sample import GPU_THROTTLED, Counter
from perwatt_aggregator.window.window import Counts, Met, SloWindow

METERED = FacilityConfig(pue=PueConfig(1.25), price=PriceConfig("USD", 0.36))


def after_a_minute(*machines: Machine, facility: FacilityConfig = METERED, **rates: float) -> Followed:
    fleet = Followed(machines, facility)
    fleet.look()
    fleet.run(60.0, **rates)
    return fleet


class TestTree:
    def test_whole_chain(self) -> None:
        """Boards, host, rest and overhead of a metered node: each joule once, money and shares with it."""
        machine = serving_machine(gpus=2)
        fleet = Followed([machine], METERED)
        machine.take("package", 0.0)
        machine.take("dram", 0.0)
        fleet.look()
        for _ in range(12):
            machine.take("package", 500.0)
            machine.take("dram", 100.0)
            fleet.run(5.0, node_watts=1000.0)
        item = fleet.tree()

        assert {
            "effective": pytest.approx(0.9 * 18000.0),
            "undecided": pytest.approx(0.1 * 18000.0),
            "unallocated": 18000.0,
            "host_cpu": pytest.approx(6000.0),
            "host_dram": pytest.approx(1200.0),
            "psu_and_rest": pytest.approx(60000.0 - 36000.0 - 7200.0),
            "facility_overhead": pytest.approx(15000.0),
        } == joules(item)
        assert ("facility", pytest.approx(75000.0), "USD") == (
            item.boundary,
            item.energy_joules,
            item.currency,
        )
        tree = flat(item)
        assert 0.2 == pytest.approx(tree["facility_overhead"].share_ratio)
        assert 75000.0 / 3.6e6 * 0.36 == pytest.approx(tree["facility"].cost)
        assert 60000.0 / 3.6e6 * 0.36 == pytest.approx(tree["nodes"].cost)
        assert (True, ()) == (item.valid, item.reasons)

    def test_without_node_meter(self) -> None:
        """Without a meter the tree ends at the boards, with a reason: nothing beyond is assumed."""
        item = after_a_minute(serving_machine(), facility=BARE).tree()
        tree = flat(item)

        assert ("gpu_board", 18000.0) == (item.boundary, item.energy_joules)
        assert [None] * 5 == [
            tree[name].energy_joules for name in ("facility", "nodes", "host", "psu_and_rest", "host_cpu")
        ]
        assert ("no_node_meter",) == tree["nodes"].reasons
        assert {"no_node_meter", "no_pue"} <= set(tree["facility"].reasons)
        assert (True, False) == (tree["gpu_boards"].valid, tree["facility"].valid)
        assert 1.0 == tree["gpu_boards"].share_ratio

    def test_without_pue(self) -> None:
        """Without a PUE the tree ends at the nodes."""
        item = after_a_minute(serving_machine(), facility=FacilityConfig(), node_watts=900.0).tree()

        assert ("node", pytest.approx(54000.0)) == (item.boundary, item.energy_joules)
        assert None is flat(item)["facility_overhead"].energy_joules

    def test_meter_below_boards(self) -> None:
        """A meter that shows less than the boards gives no total for the node."""
        item = after_a_minute(serving_machine(), node_watts=200.0).tree()

        assert "gpu_board" == item.boundary
        assert "node_meter_below_boards" in flat(item)["nodes"].reasons

    def test_host_meters_above_node(self) -> None:
        """If boards and host show more than the node, the host is not divided: nothing is below 0."""
        machine = serving_machine()
        fleet = Followed([machine], METERED)
        machine.take("package", 0.0)
        fleet.look()
        for _ in range(12):
            machine.take("package", 4000.0)
            fleet.run(5.0, node_watts=900.0)
        tree = flat(fleet.tree())

        assert (None, pytest.approx(36000.0)) == (
            tree["host_cpu"].energy_joules,
            tree["psu_and_rest"].energy_joules,
        )
        assert "host_meters_above_node" in tree["host"].reasons

    def test_estimates_are_called_so(self) -> None:
        """Joules of a stated ratio or a division by tokens are estimated; those of a counter are not."""
        tree = flat(after_a_minute(serving_machine(gpus=2), facility=FACILITY).tree())

        assert ("counter",) == tree["unallocated"].provenance
        for name in ("effective", "psu_and_rest", "facility_overhead"):
            assert "estimated" in tree[name].provenance

    def test_node_without_boards(self) -> None:
        """On a node with only a meter, all joules are in the rest, and belong to the known work."""
        machine = Machine([], [Workload("mlperf")])
        machine.meter = NodeMeterSnapshot("csv", 0.0, 0.0)
        item = after_a_minute(machine, node_watts=1000.0).tree("workload")

        assert {"workload": "mlperf"} == item.group
        assert {
            "psu_and_rest": pytest.approx(60000.0),
            "facility_overhead": pytest.approx(15000.0),
        } == joules(item)


class TestLeaves:
    def test_states(self) -> None:
        """Idle, loading, unallocated and unknown joules are in the leaves of the agent's states."""
        machine = serving_machine(gpus=2)
        fleet = after_a_minute(machine)
        machine.workloads[0].take("GPU-0", idle=400.0, loading=100.0)
        machine.gpus[0].joules += 500.0
        machine.gpus[1].unknown_joules += 70.0
        machine.gpus[1].joules += 70.0
        fleet.run(5.0)
        found = joules(fleet.tree(seconds=65.0))

        assert (400.0, 100.0, 70.0) == (found["idle"], found["loading"], found["unknown"])

    def test_never_served(self) -> None:
        """A workload that was never active has `allocated_empty` joules."""
        machine = serving_machine()
        machine.workloads[0].joules["GPU-0"] = [0.0, 0.0, 0.0]
        fleet = Followed([machine], METERED)
        fleet.look()
        for _ in range(12):
            machine.unix += 5.0
            machine.gpus[0].joules += 1000.0
            machine.workloads[0].take("GPU-0", idle=1000.0)
            machine.workloads[0].covered_seconds += 5.0
            fleet.clock.advance(5.0)
            fleet.look()

        assert {"allocated_empty": 12000.0} == joules(fleet.tree())

    @pytest.mark.parametrize("held", [True, False])
    def test_waiting(self, held: bool) -> None:
        """Joules that are not attributed yet wait with the holder; the next window subtracts them."""
        machine = serving_machine(workloads=int(held))
        fleet = after_a_minute(machine)
        machine.gpus[0].joules += 900.0
        machine.unix += 5.0
        fleet.clock.advance(5.0)
        fleet.look()
        item = fleet.trees("workload", seconds=65.0)[0]

        assert {"workload": "chat-0" if held else None} == item.group
        assert 900.0 == pytest.approx(joules(item)["waiting"])
        if held:
            machine.workloads[0].take("GPU-0", idle=900.0)
            fleet.run(5.0)
            assert -900.0 == pytest.approx(joules(fleet.tree(seconds=10.0)).get("waiting", -900.0))

    def test_waste_by_cause(self) -> None:
        """Active joules are divided like output tokens and recomputed tokens."""
        machine = serving_machine()
        machine.workloads[0].wasted = {"aborted": 0.0, "error": 0.0, "recomputed": 0.0}
        fleet = Followed([machine], METERED)
        fleet.look()
        for _ in range(12):
            fleet.run(5.0)
            machine.workloads[0].wasted["aborted"] += 40.0
            machine.workloads[0].wasted["recomputed"] += 125.0
        fleet.look()
        machine.unix += 1.0
        fleet.look()
        found = joules(fleet.tree())
        tokens = 6000.0 + 1500.0

        assert 18000.0 * 5400.0 / tokens == pytest.approx(found["effective"])
        assert 18000.0 * 480.0 / tokens == pytest.approx(found["wasted_aborted"])
        assert 18000.0 * 1500.0 / tokens == pytest.approx(found["wasted_recomputed"])

    def test_what_is_said_of_tokens(self) -> None:
        """Reasons of counts apply to entries that are divided by counts, not to measured joules."""
        machine = serving_machine()
        machine.workloads[0].engine = "llamacpp"
        machine.workloads[0].running = 30.0
        item = after_a_minute(machine, facility=FACILITY).tree()
        tree = flat(item)

        assert (True, False) == (item.valid, tree["effective"].valid)
        assert "counts_at_request_end" in tree["effective"].reasons
        assert tree["active"].valid

    def test_missed_objectives(self) -> None:
        """Requests that surely missed their objective are wasted, in proportion to their number."""
        objectives = SloConfig(time_to_first_token=0.1)
        slo = SloWindow(objectives, None, None, Met(60.0, 30.0, 45.0))
        shares = active_shares([Counts(output=1000.0, effective_output=800.0, slo=slo)])

        assert {"effective": 0.6, "wasted_missed_slo": 0.2, "undecided": 0.2} == pytest.approx(shares)

    def test_requests_where_no_token_is_made(self) -> None:
        """Joules of embeddings are divided by the outcome of requests."""
        shares = active_shares(
            [Counts(prompt_computed=9.0, requests={"ok": 6.0, "aborted": 3.0, "error": 1.0})]
        )

        assert {"effective": 0.6, "wasted_aborted": 0.3, "wasted_error": 0.1, "undecided": 0.0} == (
            pytest.approx(shares)
        )

    def test_not_told_is_not_zero(self) -> None:
        """If the engine does not report outcomes, all joules are undecided and waste is null."""
        machine = serving_machine()
        machine.workloads[0].effective = None
        tree = flat(after_a_minute(machine).tree())

        assert (None, 18000.0) == (tree["effective"].energy_joules, tree["undecided"].energy_joules)
        assert "not_judged" in tree["effective"].reasons

    def test_work_of_other_units(self) -> None:
        """The work of a job in its own unit is useful."""
        item = after_a_minute(Machine([Gpu("GPU-0")], [job("GPU-0")])).tree()

        assert {"effective": 18000.0} == joules(item)

    def test_members_of_a_group_are_judged_together(self) -> None:
        """A follower's joules are divided like its leader's tokens."""
        leader, follower = serving_machine(prefix="A"), serving_machine(prefix="B")
        leader.workloads[0].group = follower.workloads[0].group = "deepseek"
        for name in ("output", "computed", "cached", "effective", "ok"):
            setattr(follower.workloads[0], name, None)
        found = joules(after_a_minute(leader, follower).tree())

        assert 0.9 * 36000.0 == pytest.approx(found["effective"])

    @pytest.mark.parametrize(
        ("rates", "capped"),
        [
            ({"sw_power_cap": 4.0, "hw_thermal": 1.0}, 12.0),
            ({"sw_power_cap": 4.0, "hw_power_brake": 1.0}, 15.0),
            pytest.param({"hw_power_brake": 1.0}, None, id="a board that does not report its cap"),
        ],
    )
    def test_throttled_time_stands_beside(self, rates: dict[str, float], capped: float | None) -> None:
        """Throttled time counts each GPU once, by reason, and is not a leaf."""
        machine = serving_machine(gpus=2)
        fleet = Followed([machine], METERED)
        for seconds in (0.0, 3.0):
            sample = sample_of_snapshot(machine.snapshot())
            told = {reason: rate * seconds for reason, rate in rates.items()}
            counters = {
                Counter(GPU_THROTTLED, gpu="GPU-0", part=reason): value for reason, value in told.items()
            }
            fleet.aggregator.nodes[0].add(
                replace(sample, counters=sample.counters | counters), sample.unix_seconds
            )
            machine.run(60.0)
        item = fleet.tree()

        assert ({reason: rate * 3.0 for reason, rate in rates.items()}, capped) == (
            item.throttled_seconds,
            item.power_capped_seconds,
        )


class TestFleet:
    def test_one_node_without_a_meter(self) -> None:
        """The boundary of a fleet is the narrowest of its nodes; by node, each has its own."""
        fleet = Followed([serving_machine(prefix="A"), serving_machine(prefix="B")], METERED)
        fleet.machines[0].meter = NodeMeterSnapshot("ipmi", 0.0, 0.0)
        fleet.look()
        for _ in range(12):
            for machine, watts in zip(fleet.machines, (900.0, 0.0), strict=True):
                machine.run(5.0, node_watts=watts)
            fleet.clock.advance(5.0)
            fleet.look()

        assert ("gpu_board", 36000.0) == (fleet.tree().boundary, fleet.tree().energy_joules)
        assert ["facility", "gpu_board"] == [item.boundary for item in fleet.trees("node")]

    def test_facilities_of_two_currencies(self) -> None:
        """Joules of two facilities are added; their costs are not, and are given by facility."""
        here = FacilityConfig("here", PueConfig(1.1), price=PriceConfig("USD", 0.1), nodes=("node0",))
        there = FacilityConfig("there", PueConfig(1.5), price=PriceConfig("EUR", 0.2), nodes=("node1",))
        fleet = Followed([serving_machine(), serving_machine(prefix="B")], BARE, facilities=(here, there))
        fleet.look()
        fleet.run(60.0, node_watts=1000.0)
        whole, (first, second) = fleet.tree(), fleet.trees("facility")

        assert [66000.0, 90000.0] == [pytest.approx(item.energy_joules) for item in (first, second)]
        assert 156000.0 == pytest.approx(whole.energy_joules)
        assert (None, "USD", "EUR") == (whole.currency, first.currency, second.currency)
        assert None is whole.tree.cost
        assert "several_currencies" in whole.reasons


class TestFace:
    async def test_answer(self) -> None:
        """The same tree over HTTP; an unknown dimension is refused."""
        app = create_app(after_a_minute(serving_machine(), node_watts=900.0).aggregator)
        answer = (await ask(app, "/v1/ledger?by=facility,node")).json()
        (item,) = answer["items"]

        assert (1, ["facility", "node"]) == (answer["schema_version"], answer["by"])
        assert {"facility": "default", "node": "node0:9836"} == item["group"]
        assert "facility" == item["tree"]["name"]
        assert 422 == (await ask(app, "/v1/ledger?by=gpus")).status

    async def test_metrics(self) -> None:
        """The leaves as gauges that add up to the total; null leaves are absent."""
        fleet = after_a_minute(serving_machine(), facility=FACILITY)
        page = (await ask(create_app(fleet.aggregator), "/metrics")).body.decode()
        lines = [line for line in page.splitlines() if line.startswith("perwatt_ledger_energy_joules{")]
        costs = [line for line in page.splitlines() if line.startswith("perwatt_ledger_cost{")]

        assert 18000.0 * 1.8 * 1.25 == pytest.approx(sum(float(line.split()[-1]) for line in lines))
        assert not any('leaf="host_cpu"' in line for line in lines)
        assert all('window="60s"' in line for line in lines)
        assert len(lines) == len(costs)

    def test_every_null_has_a_reason(self) -> None:
        """An amount that is not known has a reason."""
        for facility in (BARE, METERED, FACILITY):
            item = after_a_minute(serving_machine(), facility=facility).tree()
            assert all(entry.reasons for entry in entries(item.tree) if entry.energy_joules is None)
