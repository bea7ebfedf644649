"""Work in units other than output tokens: counted, divided by its own joules, never mixed up."""

import pytest
from support.fleet.agents import Gpu, Machine, Workload, job, serving_machine
from support.fleet.fleets import Followed


def followed(machine: Machine) -> Followed:
    fleet = Followed([machine])
    fleet.look()
    fleet.run(60.0)
    return fleet


def trained(*workloads: Workload, gpus: int = 1) -> Followed:
    """A minute of 100 units a second at 300 W a GPU."""
    return followed(Machine([Gpu(f"GPU-{index}") for index in range(gpus)], list(workloads)))


class TestOneJob:
    @pytest.mark.parametrize("model", ["", "llama"])
    def test_its_figure(self, model: str) -> None:
        """Units are divided by joules of the same time; work without tokens is valid."""
        item = trained(job("GPU-0", model=model)).item("workload")

        assert ({"samples": 6000.0}, 18000.0) == (item.work, item.energy_joules)
        assert {"samples": pytest.approx(1 / 3)} == item.work_per_joule
        assert (None, None, 1.0) == (item.tokens.output, item.tokens_per_joule, item.explained_ratio)
        assert (True, ("other_units", "no_requests")) == (item.valid, item.reasons)

    def test_by_model(self) -> None:
        """Work has the model of its workload, although its counter has no model."""
        item = trained(job("GPU-0", model="llama")).item("model")

        assert ({"model": "llama"}, {"samples": 6000.0}) == (item.group, item.work)

    def test_listed(self) -> None:
        """The list of workloads shows the units too."""
        (item,) = trained(job("GPU-0")).aggregator.workload_answer(60.0).items

        assert ("train", "work", {"samples": 6000.0}) == (item.workload, item.engine, item.work)

    def test_without_gpus(self) -> None:
        """A job without a GPU has no joules, and does not change the figures of other work."""
        machine = serving_machine()
        machine.workloads.append(job(None))
        fleet = followed(machine)
        engine, train = fleet.items("workload")

        assert (None, {}, False) == (train.energy_joules, train.work_per_joule, train.valid)
        assert (1.0, 1.0) == (engine.coverage_ratio, fleet.item().coverage_ratio)


class TestSeveral:
    def test_units_never_add(self) -> None:
        """Each unit is divided by all joules of its group, as output tokens are."""
        item = trained(job("GPU-0"), job("GPU-1", "steps", "other"), gpus=2).item()

        assert {"samples": 6000.0, "steps": 6000.0} == item.work
        assert {"samples": pytest.approx(1 / 6), "steps": pytest.approx(1 / 6)} == item.work_per_joule

    def test_beside_an_engine(self) -> None:
        """A job does not change the figures of an engine on the same node."""
        machine = serving_machine(gpus=2)
        machine.workloads.append(job("GPU-1"))
        chat, train = followed(machine).items("workload")

        assert (6000, {}, True) == (chat.tokens.output, chat.work_per_joule, chat.valid)
        assert 1 / 3 == pytest.approx(chat.tokens_per_joule)
        assert {"samples": pytest.approx(1 / 3)} == train.work_per_joule

    def test_by_gpu(self) -> None:
        """Work on several GPUs at once cannot be split by GPU."""
        both = job("GPU-0")
        both.take("GPU-1")
        items = trained(both, gpus=2).items("gpu")

        assert [{}, {}] == [item.work_per_joule for item in items]


class TestEnded:
    def test_does_not_count_as_not_covered(self) -> None:
        """A job that ended does not lower the coverage of later windows while it is still on the page."""
        machine = serving_machine(gpus=2)
        ended = job("GPU-1")
        machine.workloads.append(ended)
        fleet = followed(machine)
        ended.up = False
        engine = machine.workloads[0]
        for _ in range(24):
            machine.workloads = [engine]
            machine.run(5.0)
            machine.workloads = [engine, ended]
            fleet.clock.advance(5.0)
            fleet.look()
        served, rest = fleet.items("workload")

        assert ({"workload": "chat-0"}, {"workload": None}) == (served.group, rest.group)
        assert (True, 1.0) == (served.valid, fleet.item().coverage_ratio)
