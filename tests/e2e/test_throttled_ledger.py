"""Throttled time, from the driver's own counters over the agent's page to the ledger."""

from pathlib import Path

import pytest
from support.agent.rig import Rig
from support.fleet.fleets import BARE
from support.gpus.fakedepth import set_fields
from support.gpus.fakenvml import Constant, FakeDriver

from perwatt_aggregator.answers.ledger.ledger import ledger
from perwatt_aggregator.fleet.node import Node
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.page_reader import PageReader
from perwatt_aggregator.targets.target import Target
from perwatt_exporter.families.all import GROUPS
from perwatt_exporter.page.pages import Pages

SW_POWER_CAP, RELIABILITY, HW_POWER_BRAKE = 74, 79, 271  # the driver's fields, in nanoseconds


async def test_throttled_seconds(tmp_path: Path) -> None:
    """
    Two GPUs that are held back by their power limit for a quarter of the time, and one by the brake as
    well: seconds by reason stand beside the tree, capped ones are those of power, and no joule is theirs.
    """
    with FakeDriver.create(tmp_path, gpus=2).install() as driver:
        for gpu in (0, 1):
            driver.set_waveform(gpu, Constant(300.0))
        rig, reader = Rig(tmp_path, driver), PageReader()
        pages = Pages(
            lambda: rig.sampler.latest, [family for group in GROUPS.values() for family in group], lambda: ()
        )
        node = Node(Target("node", ""), NodeRing(900.0, 5.0), BARE)
        for second in range(0, 65, 5):
            for gpu in (0, 1):
                fields = {SW_POWER_CAP: second * 250_000_000, RELIABILITY: second * 10_000_000}
                set_fields(driver, gpu, fields | ({HW_POWER_BRAKE: second * 100_000_000} if gpu else {}))
            await rig.run(5)
            sample = reader.read(pages.body("text", "identity"), rig.clock.monotonic())
            node.add(sample, rig.clock.unix())
        (item,) = ledger([node.view(60.0, rig.clock.monotonic())], ())

    assert {
        "sw_power_cap": pytest.approx(2 * 15.0),
        "reliability": pytest.approx(2 * 0.6),
        "hw_power_brake": pytest.approx(6.0),
    } == {reason: seconds for reason, seconds in item.throttled_seconds.items() if seconds}
    assert pytest.approx(36.0) == item.power_capped_seconds
    assert ("gpu_board", pytest.approx(2 * 300.0 * 60.0)) == (item.boundary, item.energy_joules)
