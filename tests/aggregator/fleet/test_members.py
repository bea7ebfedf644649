"""A fleet that changes: a target that is named no more ends, one that is new begins; neither spoils it."""

from pathlib import Path

import pytest
from support.fleet.agents import Machine, serving_machine

from perwatt_agent.clock import ManualClock
from perwatt_aggregator.aggregator import Aggregator
from perwatt_aggregator.config import AggregatorConfig
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.schema.efficiency import EfficiencyItem
from perwatt_aggregator.targets.config import FileSdConfig, SourcesConfig

INTERVAL_SECONDS = 5.0


class Changing:
    """An aggregator that follows a file of targets; the test reads the machines by hand."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "targets.yaml"
        self.clock = ManualClock()
        self.machines: dict[str, Machine] = {}
        sources = SourcesConfig(agents=(), file_sd=(FileSdConfig(str(self.file)),))
        self.aggregator = Aggregator(
            AggregatorConfig(sources, INTERVAL_SECONDS, labels=("rack",)), self.clock
        )

    async def name(self, *names: str, labels: str = "{}") -> None:
        """Write the file, and have it read."""
        addresses = ", ".join(f"'{name}:1'" for name in names)
        self.file.write_text(f"- targets: [{addresses}]\n  labels: {labels}\n")
        for name in names:
            self.machines.setdefault(name, serving_machine(8, name, 8))
        for _ in range(2):
            if await self.aggregator.target_sources[0].refresh():
                self.aggregator._follow_targets()

    def run(self, seconds: float, *silent: str) -> None:
        """Let all machines run; those that are targets are read, but for *silent* ones."""
        for _ in range(round(seconds / INTERVAL_SECONDS)):
            for machine in self.machines.values():
                machine.run(INTERVAL_SECONDS)
            self.clock.advance(INTERVAL_SECONDS)
            self.read(*silent)

    def read(self, *silent: str) -> None:
        for node in self.aggregator.nodes:
            name = node.target.node.partition(":")[0]
            machine = self.machines[name]
            machine.monotonic = self.clock.monotonic()
            if name not in silent:
                node.add(sample_of_snapshot(machine.snapshot(), node.objectives), self.clock.unix())

    def item(self, seconds: float = 60.0) -> EfficiencyItem:
        (item,) = self.aggregator.efficiency(seconds, (), ("gpu_board",)).items
        return item


@pytest.fixture
def fleet(tmp_path: Path) -> Changing:
    return Changing(tmp_path)


async def test_before_the_first_list(fleet: Changing) -> None:
    """A fleet whose source was never read is not known to be whole, so no figure of it is valid."""
    await fleet.aggregator.target_sources[0].refresh()
    assert () == fleet.aggregator.efficiency().items

    await fleet.name("a")
    fleet.read()
    fleet.run(60.0)
    assert (True, ()) == (fleet.item().valid, fleet.item().reasons)


async def test_one_source_of_two_was_never_read(tmp_path: Path) -> None:
    """What the other source names is answered; the fleet says that it may have more nodes."""
    fleet = Changing(tmp_path)
    await fleet.name("a")
    fleet.read()
    fleet.run(60.0)
    missing = FileSdConfig(str(tmp_path / "missing.yaml"))
    sources = SourcesConfig(agents=(), file_sd=(FileSdConfig(str(fleet.file)), missing))
    await fleet.aggregator.reload(AggregatorConfig(sources, INTERVAL_SECONDS, labels=("rack",)))
    try:
        assert ("targets_unknown",) == fleet.item().reasons
        by_node = fleet.aggregator.efficiency(60.0, ("node",), ("gpu_board",)).items
        assert [(True, ())] == [(item.valid, item.reasons) for item in by_node]
    finally:
        await fleet.aggregator.stop()


async def test_a_target_that_vanishes(fleet: Changing) -> None:
    """It counts for the time until then, then it is gone; the fleet is valid all along."""
    await fleet.name("a", "b")
    fleet.read()
    fleet.run(60.0)
    whole = fleet.item()
    await fleet.name("a")
    assert ["a:1"] == [node.target.node for node in fleet.aggregator.nodes]
    joules = []
    for _ in range(14):
        fleet.run(5.0)
        item = fleet.item()
        assert (True, ()) == (item.valid, item.reasons)
        assert item.tokens_per_joule == pytest.approx(whole.tokens_per_joule)
        joules.append(item.energy_joules)

    # Half of it is of `a`; the share of `b` leaves the window as its readings do.
    half = (whole.energy_joules or 0.0) / 2.0
    assert joules[0] == pytest.approx(half + half * 55.0 / 60.0)
    assert joules[5] == pytest.approx(half + half * 30.0 / 60.0)
    assert joules[-1] == pytest.approx(half)


async def test_one_that_was_silent_before_it_vanished(fleet: Changing) -> None:
    """While it was named and not read, its joules are missing: the figure says so until that has passed."""
    await fleet.name("a", "b")
    fleet.read()
    fleet.run(60.0)
    fleet.run(30.0, "b")
    await fleet.name("a")

    assert fleet.item().coverage_ratio < 0.95
    assert "coverage_low" in fleet.item().reasons
    fleet.run(30.0)
    assert (True, ()) == (fleet.item().valid, fleet.item().reasons)


async def test_a_target_that_appears(fleet: Changing) -> None:
    """It counts from its first readings on, and the fleet is valid all along."""
    await fleet.name("a")
    fleet.read()
    fleet.run(60.0)
    before = fleet.item()
    await fleet.name("a", "b")
    for step in range(1, 16):
        fleet.run(5.0)
        item = fleet.item()
        assert (True, ()) == (item.valid, item.reasons), step
        assert item.tokens_per_joule == pytest.approx(before.tokens_per_joule)
    assert fleet.item().energy_joules == pytest.approx(2.0 * (before.energy_joules or 0.0))


async def test_one_that_appears_and_never_answers(fleet: Changing) -> None:
    """After the time that a first reading takes it is missing, and the fleet says so."""
    await fleet.name("a")
    fleet.read()
    fleet.run(60.0)
    await fleet.name("a", "b")
    fleet.run(20.0, "b")
    assert fleet.item().valid
    fleet.run(20.0, "b")
    assert {"node_unreachable", "node_never_seen"} <= set(fleet.item().reasons)


async def test_one_that_comes_back(fleet: Changing) -> None:
    """A list that lacks a node for a moment costs it nothing: its readings go on."""
    await fleet.name("a", "b")
    fleet.read()
    fleet.run(60.0)
    await fleet.name("a")
    fleet.run(5.0)
    await fleet.name("a", "b")
    fleet.run(5.0)

    assert (True, ()) == (fleet.item().valid, fleet.item().reasons)


async def test_labels_that_change(fleet: Changing) -> None:
    """New labels are those of the node at once, and no reading is lost."""
    await fleet.name("a", labels="{rack: r1}")
    fleet.read()
    fleet.run(60.0)
    before = fleet.item()
    await fleet.name("a", labels="{rack: r2}")

    assert {"rack": "r2"} == fleet.aggregator.nodes[0].target.labels
    assert before == fleet.item()


async def test_a_name_that_grows_a_path(fleet: Changing) -> None:
    """A second agent at one address gives the first one a longer name, and costs it no reading."""
    await fleet.name("a")
    fleet.read()
    fleet.run(60.0)
    fleet.file.write_text("- targets: ['a:1']\n- targets: ['a:1']\n  labels: {__metrics_path__: /b}\n")
    for _ in range(2):
        if await fleet.aggregator.target_sources[0].refresh():
            fleet.aggregator._follow_targets()

    assert ["a:1/metrics", "a:1/b"] == [node.target.node for node in fleet.aggregator.nodes]
    assert (True, ()) == (fleet.item().valid, fleet.item().reasons)
