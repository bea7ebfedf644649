"""Efficiency answer: tokens per joule of any group, and when it is not valid."""

from dataclasses import replace

import pytest
from support.fleet.agents import Machine, Workload, serving_machine
from support.fleet.fleets import BARE, FACILITY, Followed

from perwatt_agent.facts.workload import Method
from perwatt_aggregator.facility.config import FacilityConfig


def steady(machine: Machine | None = None, facility: FacilityConfig = FACILITY, **rates: float) -> Followed:
    fleet = Followed([machine or serving_machine()], facility)
    fleet.look()
    fleet.run(60.0, **rates)
    return fleet


class TestWorkAndEnergy:
    def test_item_of_the_contract(self) -> None:
        """Every figure of one item."""
        item = steady().item("model")

        assert {"model": "llama"} == item.group
        assert (6000, 12000, 3000, 5400) == tuple(
            getattr(item.tokens, name) for name in item.tokens.__struct_fields__[:4]
        )
        assert (60, 0, 0) == (item.requests.ok, item.requests.aborted, item.requests.error)
        assert (18000.0, 0.0, 300.0) == (item.energy_joules, item.energy_idle_joules, item.power_watts)
        assert 100.0 == pytest.approx(item.output_tokens_per_second)
        assert 1 / 3 == pytest.approx(item.tokens_per_joule)
        assert 0.3 == pytest.approx(item.effective_tokens_per_joule)
        assert 300.0 == pytest.approx(item.joules_per_request)
        assert (1.0, 1.0, 5.0, 0.0) == (
            item.coverage_ratio,
            item.explained_ratio,
            item.largest_gap_seconds,
            item.age_seconds,
        )
        assert item.window is not None
        assert (60.0, True, ()) == (item.window.seconds, item.valid, item.reasons)

    def test_idle_joules_stay_in(self) -> None:
        """Idle and loading joules count by default, and are left out of the active ratio."""
        machine = serving_machine()
        fleet = Followed([machine])
        fleet.look()
        for _ in range(12):
            machine.run(5.0, watts=200.0)
            machine.workloads[0].take("GPU-0", idle=400.0, loading=100.0)
            machine.gpus[0].joules += 500.0
            fleet.clock.advance(5.0)
            fleet.look()
        item = fleet.item("model")

        assert (18000.0, 6000.0) == (item.energy_joules, item.energy_idle_joules)
        assert (6000 / 18000, 6000 / 12000) == (
            pytest.approx(item.tokens_per_joule),
            pytest.approx(item.tokens_per_joule_active),
        )

    def test_no_tokens_over_real_joules_is_zero(self) -> None:
        """An idle engine has 0 tokens per joule, and no energy per token."""
        item = steady(tokens_per_second=0.0).item("model")

        assert (0.0, None, True) == (item.tokens_per_joule, item.joules_per_token, item.valid)
        assert ("no_output_tokens", "no_requests") == item.reasons

    def test_no_joules_is_null(self) -> None:
        """Tokens over no joules is not infinite."""
        item = steady(watts=0.0).item("model")

        assert (None, None, False) == (item.tokens_per_joule, item.explained_ratio, item.valid)
        assert "no_joules" in item.reasons

    def test_engine_without_effective_tokens(self) -> None:
        """A count that one engine does not report is null for the group; the figure stays valid."""
        machine = serving_machine(gpus=2, workloads=2)
        machine.workloads[1].effective = None
        item = steady(machine).item()

        assert (None, None, True) == (
            item.tokens.effective_output,
            item.effective_tokens_per_joule,
            item.valid,
        )
        assert ("no_effective_tokens",) == item.reasons

    def test_calibration(self) -> None:
        """The calibration of a GPU multiplies its joules, held or not."""
        machine = serving_machine(gpus=2)
        for gpu in machine.gpus:
            gpu.calibration_ratio = 1.1
        fleet = steady(machine)

        assert 2 * 330.0 == pytest.approx(fleet.item().power_watts)
        assert 330.0 == pytest.approx(fleet.items("model")[0].power_watts)

        machine.gpus[1].state = "lost"
        fleet.run(5.0)
        assert 330.0 * 55.0 == pytest.approx(fleet.items("gpu")[1].energy_joules)

    @pytest.mark.parametrize(
        ("method", "idle_watts", "active", "reasons"),
        [
            ("exclusive", None, 100 / 300, ()),
            ("sm_share", 70.0, 100 / 300, ()),
            ("sm_share", None, None, ("no_baseline",)),
            ("mig_activity", 70.0, 100 / 300, ()),
            ("mig_activity", None, None, ("no_baseline",)),
            ("mig_slice", None, None, ("no_baseline",)),
        ],
    )
    def test_without_idling_of_a_shared_gpu(
        self, method: Method, idle_watts: float | None, active: float | None, reasons: tuple[str, ...]
    ) -> None:
        """Active joules are not known on a shared GPU with unknown idle power."""
        machine = serving_machine()
        machine.workloads[0].method = method
        machine.gpus[0].idle_power_watts = idle_watts
        item = steady(machine).item("model")

        assert (active, reasons, True) == (item.tokens_per_joule_active, item.reasons, item.valid)
        assert 100 / 300 == item.tokens_per_joule
        assert (active is None) == (item.energy_idle_joules is None)

    def test_unheld_gpus_belong_to_the_fleet(self) -> None:
        """Joules of GPUs without a holder count in the fleet's figure, which then has no headline."""
        fleet = steady(serving_machine(gpus=2))
        whole, (model, rest) = fleet.item(), fleet.items("model")

        assert (36000.0, 0.5, ("unexplained",)) == (whole.energy_joules, whole.explained_ratio, whole.reasons)
        assert (True, {"model": None}, ("unattributed",)) == (model.valid, rest.group, rest.reasons)
        assert whole.energy_joules == (model.energy_joules or 0.0) + (rest.energy_joules or 0.0)

    def test_idle_machine(self) -> None:
        """A machine without work has power, and no tokens per joule."""
        item = steady(serving_machine(workloads=0)).item()

        assert (300.0, None, None) == (item.power_watts, item.tokens.output, item.tokens_per_joule)
        assert "no_token_source" in item.reasons

    def test_simulated_is_said(self) -> None:
        """Figures of simulated GPUs have the provenance `simulated`, for any energy source."""
        machine = serving_machine()
        machine.backend = "simulated"
        fleet = steady(machine)

        assert {"simulated"} <= set(fleet.item("model", boundary="facility").provenance)
        assert fleet.aggregator.node_answer().items[0].simulated is True


class TestGrouping:
    def test_tokens_on_several_gpus_have_no_gpu(self) -> None:
        """A workload on two GPUs splits its joules by GPU, but not its tokens."""
        machine = serving_machine(gpus=2)
        machine.workloads[0].take("GPU-1")
        first, second = steady(machine).items("gpu")

        assert [300.0, 300.0] == [first.power_watts, second.power_watts]
        assert (None, None, ("tokens_span_gpus",)) == (
            first.tokens.output,
            first.tokens_per_joule,
            first.reasons,
        )

    def test_tokens_on_one_gpu(self) -> None:
        """A workload that has a GPU to itself gives that GPU its tokens."""
        first, second = steady(serving_machine(gpus=2, workloads=2)).items("gpu")

        assert (6000, 6000) == (first.tokens.output, second.tokens.output)

    def test_group_is_divided_together(self) -> None:
        """An engine over two nodes has one figure; its members have none."""
        leader, follower = serving_machine(prefix="A"), serving_machine(prefix="B")
        leader.workloads[0].group = follower.workloads[0].group = "deepseek"
        follower.workloads[0].model = ""
        for name in ("output", "computed", "cached", "effective", "ok"):
            setattr(follower.workloads[0], name, None)
        fleet = Followed([leader, follower])
        fleet.look()
        fleet.run(60.0)
        whole, members = fleet.item("group"), fleet.items("node")

        assert (6000 / 36000, True) == (pytest.approx(whole.tokens_per_joule), whole.valid)
        assert whole.tokens_per_joule == fleet.item("model").tokens_per_joule == fleet.item().tokens_per_joule
        assert [None, None] == [item.tokens_per_joule for item in members]
        assert all("shared_group" in item.reasons for item in members)

    def test_missing_gpu(self) -> None:
        """A workload whose GPU does not answer has no valid figure."""
        machine = serving_machine(gpus=2)
        machine.workloads[0].take("GPU-1")
        fleet = steady(machine)
        machine.gpus[1].state = "lost"
        fleet.run(5.0)

        assert "gpus_missing" in fleet.item("model").reasons

    @pytest.mark.parametrize(("missing", "valid"), [(None, True), (0, True), (1, False)])
    def test_fewer_gpus_than_asked_for(self, missing: int | None, valid: bool) -> None:
        """A workload that requested more GPUs than it holds has no valid figure."""
        machine = serving_machine()
        machine.workloads[0].missing_gpus = missing
        item = steady(machine).item("model")

        assert (valid, not valid) == (item.valid, "gpus_missing" in item.reasons)

    def test_a_missing_gpu_and_no_page(self) -> None:
        """The meter has joules of a board that nobody reads: no figure at the node is valid."""
        machine = serving_machine()
        machine.workloads.append(Workload("code", up=False, missing_gpus=1))
        fleet = Followed([machine])
        fleet.look()
        for _ in range(12):
            code = replace(machine.workloads[1])
            machine.run(5.0, node_watts=1_000.0)
            machine.workloads[1] = code
            fleet.clock.advance(5.0)
            fleet.look()
        item = fleet.item("node", boundary="node")

        assert (1000.0, False) == (pytest.approx(item.power_watts), item.valid)
        assert "gpus_missing" in item.reasons
        chat = {one.group["workload"]: one for one in fleet.items("workload", boundary="node")}["chat-0"]
        assert (False, True) == (chat.valid, "gpus_missing" in chat.reasons)


class TestTime:
    def test_until_the_window_is_filled(self) -> None:
        """A window that is not filled is not valid, with a reason."""
        fleet = Followed([serving_machine()])
        fleet.look()
        fleet.run(30.0)
        item = fleet.item("model")

        assert (0.5, False) == (pytest.approx(item.coverage_ratio, abs=0.1), item.valid)
        assert {"coverage_low", "window_not_filled"} <= set(item.reasons)

    def test_time_until_the_first_figure(self) -> None:
        """The expected time to the first valid figure falls with each reading; then it is null."""
        fleet = Followed([serving_machine()])
        waits = [fleet.item().first_figure_seconds]
        fleet.look()
        for seconds in (5.0, 25.0, 30.0):
            fleet.run(seconds)
            waits.append(fleet.item().first_figure_seconds)

        assert [60.0, 55.0, 30.0, None] == waits
        assert fleet.item().valid

    def test_no_wait_where_waiting_does_not_help(self) -> None:
        """A node that fails, a missing GPU, and an unknown boundary give no time until the first figure."""
        machine = serving_machine()
        machine.workloads[0].missing_gpus = 1
        missing, bare = Followed([machine]), Followed([serving_machine()], BARE)
        dead = Followed([serving_machine(), serving_machine(prefix="B")])
        dead.aggregator.nodes[1].fail("unreachable")
        for fleet in (missing, bare, dead):
            for _ in range(3):
                fleet.machines[0].run(5.0)
                fleet.clock.advance(5.0)
                fleet.look(at=[0])

        assert 50.0 == bare.item().first_figure_seconds
        assert None is bare.item(boundary="facility").first_figure_seconds
        assert [None, None] == [fleet.item().first_figure_seconds for fleet in (missing, dead)]

    def test_too_few_readings(self) -> None:
        """Three readings are too few for a valid window."""
        assert ("too_few_readings",) == steady().item("model", seconds=10.0).reasons

    def test_age(self) -> None:
        """Old readings lower the coverage; when they leave the window, there is no figure."""
        fleet = steady()
        fleet.clock.advance(14.0)
        fresh = fleet.item("model")
        fleet.clock.advance(16.0)
        old = fleet.item("model")
        fleet.clock.advance(40.0)

        assert (14.0, True) == (fresh.age_seconds, fresh.valid)
        assert (30.0, 0.75, ("coverage_low", "stale")) == (old.age_seconds, old.coverage_ratio, old.reasons)
        assert () == fleet.items("model")
        assert {"node_unreachable", "no_energy"} <= set(fleet.item().reasons)

    def test_one_dead_node_of_many(self) -> None:
        """An unreachable node lowers the coverage; the other nodes still have a figure."""
        fleet = Followed([serving_machine(prefix=f"N{index}") for index in range(21)])
        fleet.look()
        fleet.run(60.0)
        for _ in range(13):
            fleet.clock.advance(5.0)
            for machine in fleet.machines[1:]:
                machine.run(5.0)
            fleet.look(at=range(1, 21))
        item = fleet.item()

        assert (20 / 21, True) == (pytest.approx(item.coverage_ratio), item.valid)
        assert 20 * 300.0 == pytest.approx(item.power_watts)
        assert "node_unreachable" in item.reasons
