"""Restarts, gaps and outages: no wrong token, no wrong joule, and the right reasons."""

import pytest
from support.fleet.agents import Gpu, Machine, Workload, serving_machine
from support.fleet.fleets import Followed


def followed(machine: Machine | None = None) -> tuple[Followed, Machine]:
    """A machine that served for a minute: 300 W, 100 tokens a second, one GPU."""
    machine = machine or serving_machine()
    fleet = Followed([machine])
    fleet.look()
    fleet.run(60.0)
    return fleet, machine


class TestEngineRestart:
    def test_tokens_after_the_fall_count(self) -> None:
        """A counter that fell counts from 0 again; what it shows is new work."""
        fleet, machine = followed()
        restart(machine.workloads[0])
        fleet.run(30.0)
        item = fleet.item("model")

        assert (6000, True) == (item.tokens.output, item.valid)
        assert ("counter_reset",) == item.reasons

    def test_long_restart_under_the_agents_eyes(self) -> None:
        """Tokens of an engine count if the agent observed its start, after any time without it."""
        fleet, machine = followed()
        engine = machine.workloads[0]
        joules, covered = engine.joules.pop("GPU-0"), engine.covered_seconds
        machine.workloads.clear()
        fleet.run(300.0)
        restart(engine)
        engine.joules["GPU-0"], engine.covered_seconds = joules, covered
        machine.workloads.append(engine)
        fleet.run(60.0)
        item = fleet.items("model", seconds=60.0)[0]

        assert 1 / 3 == pytest.approx(item.tokens_per_joule)
        assert "tokens_uncovered" not in item.reasons


def restart(engine: Workload) -> None:
    """A new process counts from 0."""
    engine.output = engine.computed = engine.cached = engine.effective = engine.ok = 0.0


class TestEngineOutage:
    def test_while_the_page_is_away(self) -> None:
        """Joules that wait for an engine's page are in the fleet's energy, and in no work."""
        fleet, machine = followed()
        for _ in range(24):
            wait(machine, 5.0)
            fleet.clock.advance(5.0)
            fleet.look()
        whole, model = fleet.item(), fleet.items("model")[0]

        assert (18000.0, 0.0, False) == (whole.energy_joules, whole.explained_ratio, whole.valid)
        assert (0, 0.0, False) == (model.tokens.output, model.coverage_ratio, model.valid)
        assert {"engine_unreachable", "coverage_low"} <= set(model.reasons)

    def test_after_the_page_came_back(self) -> None:
        """Waiting joules are attributed at once; the answer's window reaches back to their start."""
        fleet, machine = followed()
        engine = machine.workloads[0]
        for _ in range(24):
            wait(machine, 5.0)
            fleet.clock.advance(5.0)
            fleet.look()
        engine.up = True
        engine.take("GPU-0", active=120.0 * 300.0)
        engine.output = (engine.output or 0.0) + 120.0 * 100.0
        engine.covered_seconds += 120.0
        fleet.run(15.0)
        item = fleet.item("model")

        assert 1 / 3 == pytest.approx(item.tokens_per_joule)
        assert (300.0, 100.0) == (
            pytest.approx(item.power_watts),
            pytest.approx(item.output_tokens_per_second),
        )
        assert item.window is not None
        assert 135.0 == pytest.approx(item.window.seconds)

    def test_several_processes(self) -> None:
        """Once the agent finds several processes on a page, what it counted before is not valid: at once."""
        fleet, machine = followed()
        assert fleet.item("workload").valid
        machine.engine_failures["several_processes"] = 1
        wait(machine, 5.0)
        fleet.clock.advance(5.0)
        fleet.look()
        item = fleet.item("workload")

        assert (True, False) == (item.coverage_ratio >= 0.95, item.valid)
        assert ("several_processes", "engine_unreachable") == item.reasons

    def test_other_failures(self) -> None:
        """A page that did not answer once leaves what was counted before as it was."""
        fleet, machine = followed()
        machine.engine_failures["timeout"] = 1
        wait(machine, 5.0)
        fleet.clock.advance(5.0)
        fleet.look()
        item = fleet.item("workload")

        assert (True, ("engine_unreachable",)) == (item.valid, item.reasons)


def wait(machine: Machine, seconds: float) -> None:
    """The engine serves while its page does not answer: the board's joules are not attributed."""
    machine.unix += seconds
    machine.gpus[0].joules += 300.0 * seconds
    machine.gpus[0].covered_seconds += seconds
    machine.workloads[0].up = False


class TestAgentOutage:
    def test_a_counter_bridges_it(self) -> None:
        """Two minutes without the agent: the driver's counter and the agent's memory lose nothing."""
        fleet, machine = followed()
        machine.run(120.0)
        fleet.clock.advance(120.0)
        fleet.look()
        fleet.run(15.0)
        item = fleet.item("model", seconds=120.0)

        assert (1 / 3, True) == (pytest.approx(item.tokens_per_joule), item.valid)
        assert (120.0, 1.0) == (item.largest_gap_seconds, item.coverage_ratio)

    def test_an_agent_without_memory(self) -> None:
        """
        Tokens of a time for which the agent has no joules are left out, and said to be.

        They go with all of the interval that the agent came back in: too few, never too many.
        """
        fleet, machine = followed()
        engine = machine.workloads[0]
        machine.unix += 120.0
        fleet.clock.advance(120.0)
        engine.output = (engine.output or 0.0) + 120.0 * 100.0
        engine.joules["GPU-0"], engine.covered_seconds = [0.0, 0.0, 0.0], 0.0
        fleet.run(30.0)
        item = fleet.item("model", seconds=300.0)

        assert 1 / 3 == pytest.approx(item.tokens_per_joule, rel=0.06)
        assert {"tokens_uncovered", "coverage_low"} <= set(item.reasons)
        assert not item.valid

    def test_engine_restarted_meanwhile(self) -> None:
        """Agent and engine were both restarted: the engine's work before the agent's start is left out."""
        fleet, machine = followed()
        engine = machine.workloads[0]
        machine.unix += 120.0
        fleet.clock.advance(120.0)
        restart(engine)
        engine.output = 800.0
        engine.joules["GPU-0"], engine.covered_seconds = [0.0, 0.0, 0.0], 0.0
        fleet.run(30.0)
        item = fleet.item("model", seconds=300.0)

        assert 1 / 3 == pytest.approx(item.tokens_per_joule, rel=0.06)
        assert not item.valid

    def test_an_agent_that_lost_its_memory(self) -> None:
        """It counts joules anew while the engine goes on: what was used meanwhile is missing, at once."""
        fleet, machine = followed()
        engine = machine.workloads[0]
        machine.unix += 5.0
        fleet.clock.advance(5.0)
        engine.output = (engine.output or 0.0) + 500.0
        engine.joules["GPU-0"], engine.covered_seconds = [0.0, 0.0, 0.0], 0.0
        fleet.run(5.0)
        item = fleet.item("model")

        assert (False, True) == (item.valid, item.coverage_ratio < 0.95)
        assert {"coverage_low", "counter_reset", "tokens_uncovered"} >= set(item.reasons)
        fleet.run(65.0)
        assert fleet.item("model").valid

    def test_an_integrated_source_does_not_bridge(self) -> None:
        """Integrated power covers only the time with an agent."""
        machine = Machine([Gpu("GPU-0", source="integrated")])
        fleet = Followed([machine])
        fleet.look()
        fleet.run(60.0)
        machine.unix += 120.0
        fleet.clock.advance(120.0)
        fleet.run(60.0)
        item = fleet.item(seconds=180.0)

        assert 60 / 180 == pytest.approx(item.coverage_ratio, abs=0.02)
        assert ("integrated",) == item.provenance
        assert "coverage_low" in item.reasons


class TestCounters:
    def test_first_reading_is_a_baseline(self) -> None:
        """The first value of a counter is not an increase."""
        fleet, machine = followed()
        machine.workloads.append(serving_machine(prefix="NEW").workloads[0])
        machine.gpus.append(Gpu("NEW-0", joules=9e9))
        machine.workloads[1].name = "late"
        fleet.run(30.0)
        items = {item.group["workload"]: item for item in fleet.items("workload")}

        assert (2500, 7500.0) == (items["late"].tokens.output, pytest.approx(items["late"].energy_joules))
        assert not items["late"].valid

    def test_gpu_reset_leaves_its_interval_uncovered(self) -> None:
        """After a driver's restart the joules since then count; the interval of the fall is not covered."""
        fleet, machine = followed(serving_machine(workloads=0))
        machine.gpus[0].joules = 0.0
        fleet.run(5.0)
        item = fleet.item()

        assert (55 / 60, False) == (pytest.approx(item.coverage_ratio), item.valid)
        assert {"counter_reset", "coverage_low"} <= set(item.reasons)

    def test_change_of_source(self) -> None:
        """Joules of two sources of one GPU are added; those in between are what their owners got."""
        fleet, machine = followed(serving_machine(workloads=0))
        machine.gpus[0].source, machine.gpus[0].joules = "integrated", 0.0
        fleet.run(30.0)
        gpu = fleet.aggregator.gpu_answer(60.0).items[0]

        assert ("counter", "integrated") == gpu.provenance
        assert 300.0 * 60.0 == pytest.approx(gpu.energy_joules)

    def test_a_gpu_uncovered_for_seconds(self) -> None:
        """Seconds without joules of a GPU are no phase between two clocks: the work's figure is not valid."""
        fleet, machine = followed()
        machine.gpus[0].covered_seconds -= 4.0
        machine.workloads[0].covered_seconds -= 4.0
        fleet.run(10.0)
        item = fleet.item("workload")

        assert (56 / 60, False) == (pytest.approx(item.coverage_ratio), item.valid)
        assert ("coverage_low",) == item.reasons

    def test_same_snapshot_twice(self) -> None:
        """A page that did not change is no reading."""
        fleet, _ = followed()
        fleet.clock.advance(5.0)
        fleet.look()

        assert 13 == len(fleet.aggregator.nodes[0].ring)
        assert 5.0 == fleet.item("model").age_seconds

    @pytest.mark.parametrize("step", [-30.0, 3600.0], ids=["back", "forward"])
    def test_clock_of_the_node_is_set(self, step: float) -> None:
        """The readings go on at the aggregator's time: nothing is lost, and nothing is wrong."""
        fleet, machine = followed()
        machine.unix += step
        fleet.run(60.0)
        item = fleet.item("model")

        assert 300.0 == pytest.approx(item.power_watts)
        assert 1 / 3 == pytest.approx(item.tokens_per_joule)
        assert (True, 60.0) == (item.valid, item.window and item.window.seconds)
        assert 25 == len(fleet.aggregator.nodes[0].ring)

    def test_phase_between_engine_and_scrape(self) -> None:
        """Engine and scrapes at different intervals: rates are right, and the phase is not a gap."""
        machine = serving_machine()
        fleet = Followed([machine])
        fleet.look()
        engine = machine.workloads[0]
        waiting = 0.0
        for _ in range(400):
            waiting += 1.0
            machine.unix += 1.0
            machine.gpus[0].joules += 300.0
            machine.gpus[0].covered_seconds += 1.0
            fleet.clock.advance(1.0)
            if waiting >= 7.0:
                engine.take("GPU-0", active=300.0 * waiting)
                engine.output = (engine.output or 0.0) + 100.0 * waiting
                engine.covered_seconds += waiting
                waiting = 0.0
            if int(machine.unix) % 5 == 0:
                fleet.look()
            if machine.unix - 1_800_000_000.0 > 100.0:
                item = fleet.item("model")
                assert (300.0, 100.0, True) == (
                    pytest.approx(item.power_watts),
                    pytest.approx(item.output_tokens_per_second),
                    item.valid,
                )
