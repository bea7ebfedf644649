"""Choice of the node meter, the model of parts, and joules through restarts, clock steps and sleep."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import At, sweep

from perwatt_agent.accounting.account import Account, AccountState
from perwatt_agent.facts.host_meter import MeterScope, MeterSnapshot, NodeMeterSnapshot, NodeModel
from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.facts.snapshot import Snapshot

TRACE = Path(__file__).parents[2] / "data" / "traces" / "trace_mlperf_v41_h200x8_gptj_offline.csv"
BOARD_WATTS = 500.0


def wall(t: float, watts: float, source: str = "redfish", zone: str = "") -> MeterSample:
    return MeterSample(source, t, watts, zone=zone, period_seconds=1.0)


def part(t: float, scope: MeterScope, watts: float, zone: str = "0", source: str = "grace") -> MeterSample:
    return MeterSample(source, t, watts, scope=scope, zone=zone, period_seconds=1.0)


def counter(t: float, joules: float, range_joules: float | None = 65_532.61) -> MeterSample:
    return MeterSample(
        "rapl",
        t,
        energy_joules=joules,
        energy_range_joules=range_joules,
        scope="package",
        zone="0",
        period_seconds=1.0,
    )


class Node:
    """A node with one GPU of 500 W; `run` gives its account the samples of each second."""

    def __init__(self, model: NodeModel | None = None) -> None:
        self.t = 1_000.0
        self.snapshot: Snapshot | None = None
        self._model = model
        self.account = Account(1.0, model=model)

    def run(
        self, seconds: int, samples: Callable[[float], Sequence[MeterSample]], *, gpu: bool = True
    ) -> Snapshot:
        for _ in range(seconds):
            self.t += 1.0
            at = At(BOARD_WATTS * self.t, BOARD_WATTS) if gpu else None
            self.snapshot = self.account.advance(sweep(self.t, {0: at}, meters=samples(self.t)))
        assert self.snapshot is not None
        return self.snapshot

    def restart_agent(self) -> None:
        saved = msgspec.json.encode(self.account.state())
        state = msgspec.json.decode(saved, type=AccountState)
        self.account = Account(1.0, model=self._model, state=state)


def meter(snapshot: Snapshot, name: str) -> MeterSnapshot:
    (found,) = (meter for meter in snapshot.meters if meter.meter == name)
    return found


class TestNodeMeter:
    def test_trust(self) -> None:
        """The most trusted meter is the node meter; the others are published beside it."""
        snapshot = Node().run(
            11, lambda t: [wall(t, 900.0, "ipmi"), wall(t, 1_000.0, "pdu", "left"), wall(t, 950.0)]
        )

        assert (NodeMeterSnapshot("pdu", 10_000.0, 10.0, 1_000.0),) == snapshot.node_meters
        assert [
            ("ipmi", "further", 9_000.0),
            ("pdu/left", "node", 10_000.0),
            ("redfish", "further", 9_500.0),
        ] == [(meter.meter, meter.role, meter.energy_joules) for meter in snapshot.meters]

    def test_switch(self) -> None:
        """A source that takes over starts at its own baseline; one that returns goes on where it was."""
        node = Node()
        both = lambda t: [wall(t, 1_000.0), wall(t, 900.0, "ipmi")]  # noqa: E731 - a sample of each second
        assert (NodeMeterSnapshot("redfish", 10_000.0, 10.0, 1_000.0),) == node.run(11, both).node_meters
        alone = node.run(1, lambda t: [wall(t, 900.0, "ipmi")])
        assert (NodeMeterSnapshot("ipmi", 0.0, 0.0, 900.0),) == alone.node_meters
        assert 9_900.0 == meter(alone, "ipmi").energy_joules
        assert 9_000.0 == node.run(10, lambda t: [wall(t, 900.0, "ipmi")]).node_meters[0].energy_joules

        assert "ipmi" == node.run(60, both).node_meters[0].source
        back = node.run(2, both).node_meters[0]
        assert ("redfish", 11_000.0) == (back.source, back.energy_joules)

    def test_a_glitch_changes_nobody(self) -> None:
        """What is not believed is bridged; the source changes once nothing has been for three periods."""
        node = Node()
        node.run(11, lambda t: [wall(t, 1_000.0), wall(t, 900.0, "ipmi")])
        glitch = node.run(2, lambda t: [wall(t, 1e6), wall(t, 900.0, "ipmi")])
        assert ("redfish", 10_000.0) == (glitch.node_meters[0].source, glitch.node_meters[0].energy_joules)
        assert not meter(glitch, "redfish").is_believed
        assert 13_000.0 == node.run(1, lambda t: [wall(t, 1_000.0)]).node_meters[0].energy_joules

        lasting = node.run(5, lambda t: [wall(t, 1e6), wall(t, 900.0, "ipmi")])
        assert "ipmi" == lasting.node_meters[0].source
        assert (("implausible", 7),) == meter(lasting, "redfish").rejections

    def test_restart(self) -> None:
        """The source from before goes on after a restart of the agent, though another may answer first."""
        node = Node()
        node.run(11, lambda t: [wall(t, 1_000.0)])
        node.restart_agent()
        assert () == node.run(3, lambda t: [wall(t, 900.0, "ipmi")]).node_meters
        snapshot = node.run(3, lambda t: [wall(t, 900.0, "ipmi"), wall(t, 1_000.0)])

        assert (NodeMeterSnapshot("redfish", 12_000.0, 12.0, 1_000.0),) == snapshot.node_meters

    def test_gone_for_good(self) -> None:
        """A source that does not come back after a restart is not waited for longer than half a minute."""
        node = Node()
        node.run(11, lambda t: [wall(t, 1_000.0)])
        node.restart_agent()

        assert "ipmi" == node.run(32, lambda t: [wall(t, 900.0, "ipmi")]).node_meters[0].source


class TestCounters:
    def test_restart(self) -> None:
        """A counter goes on over a restart of the agent, what was used meanwhile included."""
        node = Node()
        node.run(11, lambda t: [counter(t, 100.0 * t % 65_532.61)])
        node.restart_agent()
        node.t += 20.0
        snapshot = node.run(5, lambda t: [counter(t, 100.0 * t % 65_532.61)])

        assert pytest.approx(3_500.0) == meter(snapshot, "rapl/package/0").energy_joules

    @given(
        apart=st.floats(500.0, 1_800.0) | st.floats(500.0, 6e4),  # below what looks like a wrap
        order=st.lists(st.booleans(), min_size=20, max_size=40),
        range_joules=st.sampled_from([None, 65_532.61]),
    )
    def test_two_counters_in_turn(self, apart: float, order: list[bool], range_joules: float | None) -> None:
        """Two counters behind one address, in any order: the way from one to the other is no energy."""
        node, given_order = Node(), iter(order)

        def read(t: float) -> list[MeterSample]:
            joules = 150.0 * (t - 1_000.0) + (apart if next(given_order) else 0.0)
            return [counter(t, joules, range_joules)]

        shown = meter(node.run(len(order), read), "rapl/package/0")
        first_way = 0.0 if order[0] else apart  # up, before any fall shows that they are two

        assert (shown.energy_joules or 0.0) <= 150.0 * shown.covered_seconds + first_way + 1e-6

    def test_beyond_its_range(self) -> None:
        """A value that the counter cannot have is refused, and no part of it is taken for a wrap."""
        node = Node()
        node.run(11, lambda t: [counter(t, 100.0 * t % 65_532.61)])
        broken = node.run(1, lambda t: [counter(t, 65_532.61 * 7 + 100.0 * t)])
        after = node.run(2, lambda t: [counter(t, 100.0 * t % 65_532.61)])

        assert (("implausible", 1),) == meter(broken, "rapl/package/0").rejections
        assert not meter(broken, "rapl/package/0").is_believed
        assert pytest.approx(1_300.0) == meter(after, "rapl/package/0").energy_joules

    def test_many_rounds(self) -> None:
        """Over a pause in which it may have gone round more than once, nothing is claimed."""
        node = Node()
        node.run(11, lambda t: [counter(t, 100.0 * t % 65_532.61)])
        node.restart_agent()
        node.t += 600.0
        snapshot = node.run(6, lambda t: [counter(t, 100.0 * t % 65_532.61)])
        shown = meter(snapshot, "rapl/package/0")

        assert pytest.approx(1_500.0) == shown.energy_joules
        assert (15.0, ()) == (shown.covered_seconds, shown.rejections)

    def test_power_and_energy_in_turn(self) -> None:
        """A meter that tells its power now and its counter then counts no second twice."""
        node = Node()
        for _ in range(5):
            node.run(10, lambda t: [wall(t, 1_000.0)])
            node.run(5, lambda t: [MeterSample("redfish", t, energy_joules=1_000.0 * t, period_seconds=1.0)])
        (shown,) = node.run(1, lambda t: [wall(t, 1_000.0)]).node_meters

        assert (65_000.0, 65.0) == (shown.energy_joules, shown.covered_seconds)

    def test_coarse_steps(self) -> None:
        """A counter of whole kilowatt-hours adds whole steps from the first on, and covers what they took."""
        node = Node()
        step_seconds = 3_600.0
        kwh = lambda t: [  # noqa: E731 - a sample of each second
            MeterSample("pdu", t, energy_joules=3.6e6 * (t // step_seconds), period_seconds=1.0)
        ]
        snapshot = node.run(3 * 3_600, kwh)

        assert 2 * 3.6e6 == snapshot.node_meters[0].energy_joules
        assert (7_200.0, ()) == (snapshot.node_meters[0].covered_seconds, snapshot.meters[0].rejections)

    @given(
        watts=st.lists(st.floats(1.0, 1_000.0), min_size=5, max_size=80),
        start=st.floats(0.0, 65_532.0),
    )
    def test_wraps_lose_nothing(self, watts: list[float], start: float) -> None:
        """Whatever it counts, wherever it begins: what is shown is what was used since the first reading."""
        node, joules = Node(), start
        given = iter(watts)

        def read(t: float) -> list[MeterSample]:
            nonlocal joules
            joules += next(given)
            return [counter(t, joules % 65_532.61)]

        snapshot = node.run(len(watts), read)
        assert pytest.approx(sum(watts[1:])) == meter(snapshot, "rapl/package/0").energy_joules


class TestModel:
    MODEL = NodeModel(rest_watts=180.0, psu_efficiency=0.94)

    def test_parts(self) -> None:
        """(boards + processors + memory + rest) / efficiency, and the assumptions beside it."""
        node = Node(self.MODEL)
        snapshot = node.run(
            30,
            lambda t: [
                part(t, "package", 150.0, "0", "rapl"),
                part(t, "package", 140.0, "1", "rapl"),
                part(t, "dram", 20.0, "0", "rapl"),
                part(t, "core", 99.0, "0", "rapl"),
                part(t, "package", 155.0, "0", "hwmon"),
            ],
        )
        expected = (BOARD_WATTS + 150.0 + 140.0 + 20.0 + 180.0) / 0.94
        (shown,) = snapshot.node_meters

        assert ("model", pytest.approx(expected)) == (shown.source, shown.power_watts)
        assert pytest.approx(expected) == shown.energy_joules / shown.covered_seconds
        assert self.MODEL == snapshot.node_model
        roles = {meter.meter: meter.role for meter in snapshot.meters}
        assert "further" == roles["hwmon/package/0"]

    def test_covered_while_all_parts_are(self) -> None:
        """While a part does not answer, nothing is claimed and nothing covered."""
        node = Node(self.MODEL)
        cpus = lambda t: [part(t, "package", 150.0), part(t, "package", 140.0, "1")]  # noqa: E731
        before = node.run(30, cpus).node_meters[0]
        without_one = node.run(10, lambda t: cpus(t)[:1])
        assert () == without_one.node_meters
        assert () == node.run(10, cpus, gpu=False).node_meters
        after = node.run(11, cpus).node_meters[0]

        power = (BOARD_WATTS + 290.0 + 180.0) / 0.94
        gained_seconds = after.covered_seconds - before.covered_seconds
        assert 8.0 <= gained_seconds <= 14.0
        assert pytest.approx(power * gained_seconds) == after.energy_joules - before.energy_joules

    def test_module_contains_processor_and_boards(self) -> None:
        """On NVIDIA Grace the module stands for all that it contains: nothing is counted twice."""
        snapshot = Node(self.MODEL).run(
            30,
            lambda t: [
                part(t, "module", 900.0),
                part(t, "package", 200.0),
                part(t, "core", 120.0),
                part(t, "sensor", 30.0, "SysIO Power Socket 0"),
            ],
        )

        assert pytest.approx((900.0 + 180.0) / 0.94) == snapshot.node_meters[0].power_watts

    def test_no_guess(self) -> None:
        """Without a stated rest, or without a processor's meter, there is no node."""
        assert () == Node().run(30, lambda t: [part(t, "package", 150.0)]).node_meters
        assert () == Node(self.MODEL).run(30, lambda t: []).node_meters

    def test_a_meter_goes_before(self) -> None:
        """Once anything measures the node, the model is only beside it."""
        snapshot = Node(self.MODEL).run(70, lambda t: [part(t, "package", 150.0), wall(t, 1_000.0, "ipmi")])

        assert "ipmi" == snapshot.node_meters[0].source
        assert "further" == meter(snapshot, "model").role


class TestTime:
    @pytest.mark.parametrize("step_seconds", [3_600.0, -3_600.0])
    def test_clock_steps(self, step_seconds: float) -> None:
        """The wall clock means nothing to the account: not a joule more, not a joule less."""
        node = Node()
        node.run(11, lambda t: [wall(t, 1_000.0), counter(t, 100.0 * t % 65_532.61)])
        readings = sweep(
            node.t + 1.0,
            {0: At(BOARD_WATTS * (node.t + 1.0), BOARD_WATTS)},
            meters=[wall(node.t + 1.0, 1_000.0), counter(node.t + 1.0, 100.0 * (node.t + 1.0) % 65_532.61)],
        )
        stepped = msgspec.structs.replace(readings, unix_seconds=readings.unix_seconds + step_seconds)
        snapshot = node.account.advance(stepped)

        assert (11_000.0, 11.0) == (
            snapshot.node_meters[0].energy_joules,
            snapshot.node_meters[0].covered_seconds,
        )
        assert pytest.approx(1_100.0) == meter(snapshot, "rapl/package/0").energy_joules

    def test_suspend(self) -> None:
        """The monotonic clock stands still while the machine sleeps; what was counted then is not claimed."""
        node, slept_joules = Node(), 40_000.0
        node.run(11, lambda t: [counter(t, 100.0 * t, None), wall(t, 1_000.0)])
        snapshot = node.run(5, lambda t: [counter(t, 100.0 * t + slept_joules, None), wall(t, 1_000.0)])

        assert pytest.approx(1_400.0) == meter(snapshot, "rapl/package/0").energy_joules
        assert (("jump", 1),) == meter(snapshot, "rapl/package/0").rejections
        assert 15_000.0 == snapshot.node_meters[0].energy_joules

    def test_long_pause(self) -> None:
        """A pause of the agent of more than three periods is not covered, and earlier readings are none."""
        node = Node()
        node.run(11, lambda t: [wall(t, 1_000.0)])
        node.t += 100.0
        snapshot = node.run(5, lambda t: [wall(t, 1_000.0), wall(t - 50.0, 5_000.0)])

        assert (14_000.0, 14.0) == (
            snapshot.node_meters[0].energy_joules,
            snapshot.node_meters[0].covered_seconds,
        )
