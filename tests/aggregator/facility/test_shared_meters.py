"""A meter over several nodes: what each gets, and what goes before it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.fleet.agents import Gpu, Machine, serving_machine
from support.fleet.fleets import BARE, FACILITY, Followed
from support.meters.steady_meter import SteadyMeter
from support.servers.asgi import ask
from support.servers.documents import showing

from perwatt_agent.clock import ManualClock, SystemClock
from perwatt_agent.configfile.layers import ConfigError
from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_agent.meters.build import build_meter
from perwatt_aggregator.aggregator import HISTORY_SECONDS, Aggregator
from perwatt_aggregator.api.app import create_app
from perwatt_aggregator.config import AggregatorConfig, load_aggregator_config
from perwatt_aggregator.facility.config import FacilityConfig
from perwatt_aggregator.facility.shared_meter import SharedMeter
from perwatt_aggregator.facility.shared_meter_config import SharedMeterConfig
from perwatt_aggregator.targets.config import agents_at

CONFIG = SharedMeterConfig(
    kind="json", url="http://pdu/", path="w", unit="watts", source="pdu", covers=("node*",)
)


async def metered(
    watts: float | None,
    facility: FacilityConfig = BARE,
    machines: Sequence[Machine] = (),
    node_watts: Sequence[float] = (),
    covers: tuple[str, ...] = CONFIG.covers,
) -> Followed:
    """Two nodes of 300 W and 600 W of boards on one meter, after a minute."""
    nodes = list(machines) or [serving_machine(prefix="A"), serving_machine(2, prefix="B", workloads=2)]
    fleet = Followed(nodes, facility)
    config = replace(CONFIG, covers=covers)
    meter = SharedMeter(config, SteadyMeter(fleet.clock, watts, 5.0), fleet.clock, HISTORY_SECONDS)
    fleet.aggregator.shared_meters = (meter,)
    fleet.look()
    await meter.poll()
    for _ in range(12):
        for machine, own in zip(nodes, node_watts or [0.0] * len(nodes), strict=True):
            machine.run(5.0, node_watts=own)
        fleet.clock.advance(5.0)
        fleet.look()
        await meter.poll()
    return fleet


class TestSplit:
    async def test_by_board_joules(self) -> None:
        """All that the meter reads is its nodes', by their board joules, and is called estimated."""
        fleet = await metered(1800.0)
        items = fleet.items("node", boundary="node")

        assert [600.0, 1200.0] == [pytest.approx(item.power_watts) for item in items]
        assert all(item.valid and "estimated" in item.provenance for item in items)
        assert 108000.0 == pytest.approx(fleet.tree().energy_joules)

    async def test_own_meter_first(self) -> None:
        """A node with a meter of its own keeps it; the others share what is left."""
        fleet = await metered(1800.0, node_watts=(500.0, 0.0))
        first, second = fleet.items("node", boundary="node")

        assert (500.0, 1300.0) == (pytest.approx(first.power_watts), pytest.approx(second.power_watts))
        assert ("estimated" in first.provenance, "estimated" in second.provenance) == (False, True)

    async def test_before_model_and_overhead(self) -> None:
        """What was measured, though together, goes before what is modelled or stated."""
        machines = [serving_machine(prefix="A"), serving_machine(2, prefix="B", workloads=2)]
        machines[0].meter = NodeMeterSnapshot("model", 0.0, 0.0)
        fleet = await metered(1800.0, FACILITY, machines, node_watts=(444.0, 0.0))

        assert [600.0, 1200.0] == [
            pytest.approx(item.power_watts) for item in fleet.items("node", boundary="node")
        ]

    async def test_meter_that_fails(self) -> None:
        """Without a reading the next best stands; without that there is null, and why."""
        estimated = (await metered(None, FACILITY)).items("node", boundary="node")
        nothing = (await metered(None)).items("node", boundary="node")

        assert [540.0, 1080.0] == [pytest.approx(item.power_watts) for item in estimated]
        assert [None, None] == [item.energy_joules for item in nothing]
        assert all({"no_node_meter", "shared_meter_incomplete"} <= set(item.reasons) for item in nothing)

    async def test_node_out_of_reach(self) -> None:
        """Where one of its nodes is not known, no other can be given a share."""
        fleet = await metered(1800.0)
        for _ in range(13):
            fleet.machines[0].run(5.0)
            fleet.clock.advance(5.0)
            fleet.look(at=[0])
            await fleet.aggregator.shared_meters[0].poll()

        assert "shared_meter_incomplete" in fleet.items("node", boundary="node")[0].reasons

    @pytest.mark.parametrize("state", ["lost", "hung", "error"])
    async def test_a_board_that_is_not_measured(self, state: str) -> None:
        """What a failed GPU of one node used would be given to the others: no share is valid."""
        machines = [serving_machine(prefix="A"), serving_machine(2, prefix="B", workloads=1)]
        machines[1].gpus[1].state = state  # type: ignore[assignment]
        fleet = await metered(1800.0, machines=machines)

        for item in fleet.items("node", boundary="node"):
            assert (False, True) == (item.valid, "shared_meter_incomplete" in item.reasons)

    async def test_a_card_that_nobody_uses(self) -> None:
        """A GPU that cannot be measured, and that no work holds, is part of the rest of its node."""
        machines = [serving_machine(prefix="A"), serving_machine(2, prefix="B", workloads=2)]
        machines[1].gpus.append(Gpu("card", has_sensor=False))
        fleet = await metered(1800.0, machines=machines)

        assert [True, True] == [item.valid for item in fleet.items("node", boundary="node")]

    async def test_covered_by_its_other_address(self) -> None:
        """A node of two addresses has its share, whichever of them the meter covers."""
        machines = [serving_machine(prefix="A"), serving_machine(prefix="B"), serving_machine(prefix="B")]
        fleet = await metered(1200.0, machines=machines, covers=("node0", "node2"))
        items = fleet.items("node", boundary="node")

        assert [36_000.0, 36_000.0] == [pytest.approx(item.energy_joules) for item in items]

    async def test_below_boards(self) -> None:
        """A meter that shows less than the boards does not feed them."""
        item = (await metered(800.0)).item(boundary="node")

        assert "node_meter_below_boards" in item.reasons


class TestPolled:
    async def test_over_http(self) -> None:
        """A document is read at its interval; its power is integrated, and its failures are counted."""
        clock = ManualClock()
        async with showing({"/pdu": {"w": 1.8}}) as server:
            config = replace(CONFIG, url=f"{server.url}/pdu", unit="kilowatts", interval=5.0)
            meter = SharedMeter(config, build_meter(config, clock), clock, HISTORY_SECONDS)
            for _ in range(5):
                await meter.poll()
                clock.advance(5.0)
            reading = meter.reading(clock.monotonic() - 60.0, clock.monotonic())
            server.documents.clear()
            await meter.poll()

        assert (1800.0, 20.0, 4) == (reading.watts, reading.covered_seconds, reading.refreshes)
        assert (False, 1) == (meter.health.success, sum(count for _, count in meter.health.failures))

    async def test_only_the_window(self) -> None:
        """An interval that reaches beyond the window counts by its share, and old ones are forgotten."""
        fleet = await metered(1800.0)
        (meter,) = fleet.aggregator.shared_meters
        now = fleet.clock.monotonic()

        assert 1800.0 * 12.0 == pytest.approx(meter.reading(now - 12.0, now).joules)
        fleet.clock.advance(2.0 * HISTORY_SECONDS)
        await meter.poll()
        assert 0 == meter.reading(0.0, fleet.clock.monotonic()).refreshes

    async def test_health(self) -> None:
        """Whether a shared meter answers is on the aggregator's page."""
        up, down = (
            create_app((await metered(1800.0)).aggregator),
            create_app((await metered(None)).aggregator),
        )

        assert b'perwatt_aggregator_shared_meter_up{meter="json"} 1' in (await ask(up, "/metrics")).body
        page = (await ask(down, "/metrics")).body
        assert b'perwatt_aggregator_shared_meter_up{meter="json"} 0' in page
        assert b'shared_meter_failures_total{meter="json",reason="unreachable"} 13' in page

    async def test_a_leap_ends_nothing(self) -> None:
        """A number that cannot be believed is a failure of the meter, and asking goes on after it."""
        clock = ManualClock()
        pdu = SteadyMeter(clock, 1800.0, 5.0)
        meter = SharedMeter(CONFIG, pdu, clock, HISTORY_SECONDS)
        for watts in (1800.0, 1.8e6, 1800.0, 1800.0):
            clock.advance(5.0)
            pdu.watts = watts
            await meter.poll()
        reading = meter.reading(0.0, clock.monotonic())

        assert (("implausible", 1),) == meter.health.failures
        assert (1800.0, 15.0) == (reading.watts, reading.covered_seconds)

    async def test_aggregator_asks(self) -> None:
        """The aggregator polls its meters from its start to its stop."""
        async with showing({"/pdu": {"w": 1800.0}}) as server:
            config = replace(CONFIG, url=f"{server.url}/pdu", interval=1.0)
            sources = agents_at("http://node0:1/metrics")
            aggregator = Aggregator(AggregatorConfig(sources, meters=(config,)), SystemClock())
            await aggregator.start()
            for _ in range(400):
                if server.asked:
                    break
                await asyncio.sleep(0.05)
            await aggregator.stop()

        assert "/pdu" == server.asked[0]


BASE = """\
sources: {agents: ["http://gpu-1:9836/metrics", "http://gpu-2:9836/metrics"]}
meters:
"""
METER = '- {{kind: json, name: {name}, url: "http://pdu/", path: w, unit: watts, covers: [{covers}]}}\n'


class TestConfig:
    def load(self, tmp_path: Path, *meters: str) -> tuple[SharedMeterConfig, ...]:
        path = tmp_path / "aggregator.yaml"
        path.write_text(BASE + "".join(meters))
        return load_aggregator_config(path, {}, {}).meters

    def test_covers(self, tmp_path: Path) -> None:
        """A meter names its nodes by host, by host and port, or by a pattern."""
        (meter,) = self.load(tmp_path, METER.format(name="a", covers="gpu-1, 'gpu-2:*'"))

        assert meter.covers_node("gpu-1:9836")
        assert meter.covers_node("gpu-2:9836")
        assert not meter.covers_node("gpu-3:9836")
        assert not replace(meter, covers=("gpu-1",)).covers_node("gpu-11:9836")

    @pytest.mark.parametrize(
        ("meters", "wrong"),
        [
            pytest.param([METER.format(name="a", covers="gpu-9")], "at least one of", id="nobody"),
            pytest.param(
                [METER.format(name="a", covers="gpu-1"), METER.format(name="b", covers="'gpu*'")],
                "gpu-1:9836 is under two",
                id="twice",
            ),
            pytest.param(
                [METER.format(name="a", covers="gpu-1"), METER.format(name="a", covers="gpu-2")],
                "an unused name",
                id="name",
            ),
        ],
    )
    def test_wrong(self, tmp_path: Path, meters: list[str], wrong: str) -> None:
        """A meter without nodes, or with a node of another meter, is rejected at the start."""
        with pytest.raises(ConfigError, match=wrong):
            self.load(tmp_path, *meters)
