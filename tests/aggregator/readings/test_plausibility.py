"""Numbers that cannot be, and falls that nothing explains: no figure is made of them, and it is said."""

import re
from collections.abc import Callable, Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.fleet.agents import Machine, serving_machine
from support.fleet.fleets import BARE, Followed

from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.facts.snapshot import AgentInfo, Snapshot
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_exporter.families.all import ALL
from perwatt_exporter.page.pages import Pages

OWN_REASONS = {"implausible_value", "unwitnessed_reset"}
RIGHT = {"gpu_board": 100.0 / 300.0, "node": 100.0 / 600.0}

Spoil = Callable[[float], str]
COUNTERS = (
    "perwatt_gpu_energy_joules_total",
    "perwatt_gpu_energy_covered_seconds_total",
    "perwatt_workload_energy_joules_total",
    "perwatt_workload_covered_seconds_total",
    "perwatt_node_energy_joules_total",
    "perwatt_node_energy_covered_seconds_total",
    "perwatt_output_tokens_total",
    "perwatt_prompt_tokens_total",
)
SPOILS: dict[str, Spoil] = {
    "no number": lambda value: "NaN",
    "infinite": lambda value: "+Inf",
    "negative": lambda value: "-5",
    "beyond any count": lambda value: "1e308",
    "4.8 GW": lambda value: str(value + 2.4e10),
    "a thousand times": lambda value: str(1000.0 * (value + 1000.0)),
    "a little less": lambda value: str(0.9 * value),
    "from zero": lambda value: "0",
    "another counter": lambda value: str(value / 7.0 + 1.0),
}


class Spoilt:
    """A machine of 300 W of boards, 600 W in all and 100 tokens a second, whose pages are spoilt."""

    def __init__(self, agent: AgentInfo | None = None) -> None:
        self.machine = serving_machine()
        # A driver's counter began long before the agent.
        self.machine.gpus[0].joules = 5e6
        self.machine.meter = NodeMeterSnapshot("ipmi", 9_000.0, 300.0)
        self.fleet = Followed([self.machine], BARE)
        self.agent = agent
        self.engine_start: float | None = None
        self._reader = PageReader()

    def snapshot(self) -> Snapshot:
        self.machine.monotonic = self.fleet.clock.monotonic()
        snapshot = replace(self.machine.snapshot(), agent=self.agent)
        workloads = tuple(
            replace(one, counts=replace(one.counts, process_start_unix_seconds=self.engine_start))
            for one in snapshot.workloads
            if one.counts is not None
        )
        return replace(snapshot, workloads=workloads)

    def look(self, name: str = "", spoil: Spoil = str) -> None:
        page = Pages(self.snapshot, ALL).body("text", "identity").decode()
        pattern = re.compile(rf"^({name}(?:{{.*}})?) (\S+)$", re.MULTILINE)
        spoilt = pattern.sub(lambda line: f"{line[1]} {spoil(float(line[2]))}", page) if name else page
        (node,) = self.fleet.aggregator.nodes
        node.add(self._reader.read(spoilt.encode(), self.fleet.clock.monotonic()), self.fleet.clock.unix())

    def run(self, pages: int, name: str = "", spoil: Spoil = str) -> None:
        for _ in range(pages):
            self.machine.run(5.0, node_watts=600.0)
            self.fleet.clock.advance(5.0)
            self.look(name, spoil)

    def items(self) -> Iterator[EfficiencyItem]:
        for by in ((), ("node",), ("workload",)):
            yield from self.fleet.aggregator.efficiency(60.0, by, ("gpu_board", "node")).items

    def check(self) -> None:
        """Whatever is called valid is right."""
        for item in self.items():
            if item.valid and item.tokens_per_joule is not None:
                right = RIGHT[item.boundary]
                off = abs(item.tokens_per_joule - right) / right
                assert off <= 3.0 * (item.relative_uncertainty or 0.0) + 0.02, (item, off)
                joules = 60.0 * (300.0 if item.boundary == "gpu_board" else 600.0)
                assert joules == pytest.approx(item.energy_joules, rel=0.2)

    @property
    def reasons(self) -> set[str]:
        return {reason for item in self.items() for reason in item.reasons}

    @property
    def is_valid(self) -> bool:
        return all(item.valid for item in self.items())


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("name", COUNTERS)
@pytest.mark.parametrize("pages", [1, 3])
def test_spoilt_counter(name: str, how: str, pages: int) -> None:
    """While it is in the window no figure of it is valid, and the reason is its own; then all are right."""
    spoilt = Spoilt()
    spoilt.look()
    spoilt.run(14)
    spoilt.run(pages, name, SPOILS[how])
    spoilt.check()
    spoilt.run(1)
    spoilt.check()

    assert OWN_REASONS & spoilt.reasons, spoilt.reasons
    for _ in range(15):
        spoilt.run(1)
        spoilt.check()
    assert spoilt.is_valid


@given(
    faults=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(COUNTERS), st.sampled_from(list(SPOILS))), max_size=6
    ),
    has_id=st.booleans(),
)
def test_any_schedule(faults: list[tuple[int, str, str]], has_id: bool) -> None:
    """Over any schedule of such pages, what is valid is right."""
    spoilt = Spoilt(AgentInfo("a", 1_700_000_000.0) if has_id else None)
    spoilt.look()
    spoilt.run(13)
    for calm_pages, name, how in faults:
        spoilt.run(calm_pages)
        spoilt.run(1, name, SPOILS[how])
        spoilt.check()
    spoilt.run(2)
    spoilt.check()


@pytest.mark.parametrize("ratio", ["-5", "0", "NaN", "1e308", "0.001"])
def test_calibration(ratio: str) -> None:
    """Joules that are calibrated by an impossible ratio are not known."""
    spoilt = Spoilt()
    spoilt.machine.gpus[0].calibration_ratio = 0.9
    spoilt.look()
    spoilt.run(14)
    valid = spoilt.is_valid
    spoilt.run(1, "perwatt_gpu_energy_calibration_ratio", lambda _: ratio)

    assert (True, False) == (valid, spoilt.is_valid)
    assert "implausible_value" in spoilt.reasons


class TestRestart:
    """A counter that falls was reset where something shows it."""

    @staticmethod
    def _engine(spoilt: Spoilt) -> None:
        (workload,) = spoilt.machine.workloads
        workload.output, workload.computed, workload.cached = 0.0, 0.0, 0.0
        workload.effective, workload.ok = 0.0, 0.0

    @staticmethod
    def _agent(spoilt: Spoilt) -> None:
        (workload,), (gpu,) = spoilt.machine.workloads, spoilt.machine.gpus
        workload.joules = {"GPU-0": [0.0, 0.0, 0.0]}
        workload.covered_seconds = gpu.covered_seconds = 0.0
        spoilt.machine.meter = NodeMeterSnapshot("ipmi", 0.0, 0.0)

    @pytest.mark.parametrize("starts", [(None, None), (1_000.0, 2_000.0), (None, 2_000.0)])
    def test_engine(self, starts: tuple[float | None, float | None]) -> None:
        """By its start, or because all that it counts begins again."""
        spoilt = Spoilt(AgentInfo("a", 1.0))
        spoilt.engine_start = starts[0]
        spoilt.look()
        spoilt.run(20)
        self._engine(spoilt)
        spoilt.engine_start = starts[1]
        spoilt.run(6)
        spoilt.check()

        assert (True, set()) == (spoilt.is_valid, OWN_REASONS & spoilt.reasons)
        assert "counter_reset" in spoilt.reasons

    @pytest.mark.parametrize("start", [1_000.0, 500.0])
    def test_engine_that_did_not(self, start: float) -> None:
        """With the same start, or an earlier one, another engine answers."""
        spoilt = Spoilt(AgentInfo("a", 1.0))
        spoilt.engine_start = 1_000.0
        spoilt.look()
        spoilt.run(20)
        self._engine(spoilt)
        spoilt.engine_start = start
        spoilt.run(6)

        assert not spoilt.is_valid
        assert "unwitnessed_reset" in spoilt.reasons

    def test_engine_too_often(self) -> None:
        """No engine whose start is not known restarts three times in a quarter of an hour."""
        spoilt = Spoilt()
        spoilt.look()
        spoilt.run(20)
        found = []
        for _ in range(3):
            self._engine(spoilt)
            spoilt.run(5)
            found.append("unwitnessed_reset" in spoilt.reasons)

        assert [False, False, True] == found

    @pytest.mark.parametrize("starts", [(1.0, 9.0), None])
    def test_agent(self, starts: tuple[float, float] | None) -> None:
        """By its start; of an older agent, because the seconds begin again too."""
        spoilt = Spoilt(AgentInfo("a", starts[0]) if starts else None)
        spoilt.look()
        spoilt.run(20)
        self._agent(spoilt)
        spoilt.agent = AgentInfo("a", starts[1]) if starts else None
        spoilt.run(6)
        spoilt.check()

        assert set() == OWN_REASONS & spoilt.reasons
        assert spoilt.is_valid

    @pytest.mark.parametrize("pages", [1, 3])
    @pytest.mark.parametrize("is_agent", [True, False])
    def test_counter_that_is_late(self, pages: int, *, is_agent: bool) -> None:
        """The first pages after a restart lack the engine and the meter: the restart explains their fall."""
        spoilt = Spoilt(AgentInfo("a", 1.0))
        spoilt.engine_start = 1_000.0
        spoilt.look()
        spoilt.run(20)
        workloads, meter = spoilt.machine.workloads, spoilt.machine.meter
        if is_agent:
            self._agent(spoilt)
            spoilt.agent = AgentInfo("a", 9.0)
            meter = NodeMeterSnapshot("ipmi", 0.0, 0.0)
        else:
            self._engine(spoilt)
            spoilt.engine_start = 2_000.0
        spoilt.machine.workloads, spoilt.machine.meter = [], None
        for _ in range(pages):
            spoilt.machine.run(5.0)
            spoilt.fleet.clock.advance(5.0)
            spoilt.look()
        spoilt.machine.workloads, spoilt.machine.meter = workloads, meter
        for _ in range(15):
            spoilt.run(1)
            spoilt.check()
            assert set() == OWN_REASONS & spoilt.reasons
        assert spoilt.is_valid

    def test_explains_a_late_counter_once(self) -> None:
        """A restart explains no second fall of a counter that was read since."""
        spoilt = Spoilt(AgentInfo("a", 1.0))
        spoilt.look()
        spoilt.run(20)
        self._agent(spoilt)
        spoilt.agent = AgentInfo("a", 9.0)
        spoilt.run(3)
        self._agent(spoilt)
        spoilt.run(1, "perwatt_workload_covered_seconds_total", lambda value: str(value + 20.0))

        assert "unwitnessed_reset" in spoilt.reasons

    def test_agent_that_goes_back(self) -> None:
        """A start explains no counter that shows more than it can have counted since: its state is old."""
        spoilt = Spoilt(AgentInfo("a", 1.0))
        spoilt.look()
        spoilt.run(40)
        (workload,) = spoilt.machine.workloads
        workload.joules = {gpu: [0.5 * one for one in joules] for gpu, joules in workload.joules.items()}
        workload.covered_seconds *= 0.5
        spoilt.agent = AgentInfo("a", 9.0)
        spoilt.run(6)

        assert not spoilt.is_valid
        assert "unwitnessed_reset" in spoilt.reasons


@pytest.mark.parametrize(("first", "second"), [*product((0.0, 5e5), (3e6, 9e9))])
def test_two_meters_in_turn(first: float, second: float) -> None:
    """Two old agents with a meter each, behind one address: 4.8 GW is no figure."""
    machines = [
        Machine([], meter=NodeMeterSnapshot("ipmi", joules, joules / 600.0)) for joules in (first, second)
    ]
    fleet = Followed(machines[:1], BARE)
    for turn in range(30):
        fleet.machines = [machines[turn % 2]]
        for one in machines:
            one.run(5.0, node_watts=600.0)
        fleet.clock.advance(5.0)
        fleet.look()

    assert not fleet.item(boundary="node").valid
