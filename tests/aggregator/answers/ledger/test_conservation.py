"""Conservation: every joule of the fleet is in exactly one leaf."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import Followed
from support.fleet.ledger_trees import entries

from perwatt_agent.facts.host_meter import NodeMeterSnapshot
from perwatt_aggregator.facility.config import (
    CarbonConfig,
    FacilityConfig,
    NodeOverheadConfig,
    PriceConfig,
    PueConfig,
)
from perwatt_aggregator.facility.shared_meter import SharedReading
from perwatt_aggregator.schema.common import DIMENSIONS, Dimension
from perwatt_aggregator.schema.ledger import LedgerEntry

pytestmark = pytest.mark.slow

CLOSE = 1e-9
SECONDS = 900.0


@st.composite
def machines(draw: st.DrawFn, name: str) -> Machine:
    """A node of up to 3 GPUs, shared or not, with a node meter, host meters, both or none."""
    gpus = [
        Gpu(
            f"{name}-{index}",
            source=draw(st.sampled_from(["counter", "integrated"])),
            calibration_ratio=draw(st.sampled_from([None, 0.95, 1.07])),
        )
        for index in range(draw(st.integers(1, 3)))
    ]
    workloads = []
    for index in range(draw(st.integers(0, 3))):
        workload = Workload(
            f"{name}-work-{index}",
            model=draw(st.sampled_from(["llama", "qwen", ""])),
            group=draw(st.sampled_from(["", "g"])),
            effective=draw(st.sampled_from([None, 0.0])),
        )
        for gpu in draw(st.sets(st.sampled_from([gpu.uuid for gpu in gpus]), min_size=1)):
            workload.take(gpu)
        workloads.append(workload)
    machine = Machine(gpus, workloads)
    if draw(st.booleans()):
        machine.meter = NodeMeterSnapshot(draw(st.sampled_from(["ipmi", "pdu", "model"])), 0.0, 0.0)
    if draw(st.booleans()):
        machine.take("package", 0.0)
    return machine


def advance(machine: Machine, draw: st.DrawFn) -> None:
    """Five seconds: joules are attributed now, later or to no workload; counters are sometimes reset."""
    machine.unix += 5.0
    boards = 0.0
    for gpu in machine.gpus:
        used = draw(st.integers(0, 5_000))
        boards += used * (gpu.calibration_ratio or 1.0)
        gpu.joules = used + (0.0 if draw(st.integers(0, 19)) == 0 else gpu.joules)
        gpu.covered_seconds += 5.0
        holders = [workload for workload in machine.workloads if gpu.uuid in workload.joules]
        handed_out = used * draw(st.sampled_from([0.0, 0.5, 1.0]))
        for workload in holders:
            state = draw(st.sampled_from(["active", "idle", "loading"]))
            workload.take(gpu.uuid, **{state: handed_out / len(holders)})
        if not holders:
            gpu.unallocated_joules += used
    for workload in machine.workloads:
        workload.covered_seconds += 5.0
        workload.output = draw(st.integers(0, 400)) + (workload.output or 0.0)
        if workload.effective is not None:
            workload.effective += draw(st.integers(0, 400))
    if machine.host_joules:
        machine.take("package", draw(st.integers(0, 3_000)))
    if machine.meter is not None:
        node = boards + draw(st.integers(0, 10_000))
        machine.meter = NodeMeterSnapshot(
            machine.meter.source, machine.meter.energy_joules + node, machine.meter.covered_seconds + 5.0
        )


FACILITIES = st.builds(
    FacilityConfig,
    st.just("default"),
    st.one_of(st.none(), st.builds(PueConfig, st.floats(1.0, 2.0))),
    st.one_of(st.none(), st.builds(NodeOverheadConfig, st.floats(1.0, 3.0))),
    st.one_of(st.none(), st.just(PriceConfig("EUR", 0.25))),
    st.one_of(st.none(), st.just(CarbonConfig(300.0))),
)


class Shared:
    """A meter over both nodes, that read *watts* all the time."""

    def __init__(self, watts: float) -> None:
        self._watts = watts

    def covers_node(self, node: str) -> bool:
        return True

    def reading(self, start_seconds: float, end_seconds: float) -> SharedReading:
        seconds = end_seconds - start_seconds
        return SharedReading("csv", self._watts * seconds, seconds, 60, 1.0)


@st.composite
def fleets(draw: st.DrawFn) -> Followed:
    fleet = Followed([draw(machines(name)) for name in ("A", "B")], draw(FACILITIES))
    if draw(st.booleans()):
        shared: Any = Shared(draw(st.floats(0.0, 10_000.0)))
        fleet.aggregator.shared_meters = (shared,)
    fleet.look()
    for _ in range(6):
        fleet.clock.advance(5.0)
        for machine in fleet.machines:
            advance(machine, draw)
        fleet.look(at=[index for index in (0, 1) if draw(st.integers(0, 4))])
    fleet.clock.advance(1.0)
    for machine in fleet.machines:
        machine.unix += 1.0
    fleet.look()
    return fleet


def known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def assert_sums(entry: LedgerEntry) -> None:
    """A known branch is the sum of its children in joules, money and grams."""
    if not entry.children or entry.energy_joules is None:
        return
    for name in ("energy_joules", "cost", "grams_co2e"):
        whole = getattr(entry, name)
        parts = known([getattr(child, name) for child in entry.children])
        if whole is not None:
            scale = max(1.0, sum(map(abs, parts)))
            assert pytest.approx(whole, abs=CLOSE * scale) == sum(parts)
    for child in entry.children:
        assert_sums(child)


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_a_tree_is_the_sum_of_its_leaves(fleet: Followed) -> None:
    """Each branch is the sum of its children, and the totals are what the meters measured."""
    item = fleet.tree(seconds=SECONDS)
    branches = {entry.name: entry.energy_joules for entry in entries(item.tree)}
    boards = sum(gpu.energy_joules or 0.0 for gpu in fleet.aggregator.gpu_answer(SECONDS).items)

    assert_sums(item.tree)
    assert pytest.approx(boards, rel=CLOSE, abs=1e-6) == branches["gpu_boards"]
    nodes = [view for view in fleet.aggregator.views(SECONDS) if view.parts is not None]
    if branches["nodes"] is not None and boards:
        measured = sum(
            (view.factor_ratio or 0.0) * sum(part.energy.leaves.values())
            for view in nodes
            if view.parts is not None
            for part in view.parts.by_workload
        )
        assert pytest.approx(measured, rel=CLOSE) == branches["nodes"]
    if branches["facility"] is not None and branches["nodes"] is not None:
        pue = nodes[0].facility.pue
        assert pue is not None
        assert pytest.approx(branches["nodes"] * pue.ratio, rel=CLOSE) == branches["facility"]


@settings(max_examples=60, deadline=None)
@given(fleets(), st.sets(st.sampled_from(DIMENSIONS)))
def test_groups_have_the_joules_of_the_whole(fleet: Followed, by: set[Dimension]) -> None:
    """Grouped by anything, every leaf has the joules that it has in the one tree."""
    whole = {entry.name: entry.energy_joules for entry in entries(fleet.tree(seconds=SECONDS).tree)}
    items = fleet.trees(*sorted(by), seconds=SECONDS)
    scale = max(1.0, *(abs(value) for value in known(list(whole.values()))))

    for name, joules in whole.items():
        parts = known(
            [entry.energy_joules for item in items for entry in entries(item.tree) if entry.name == name]
        )
        if joules is not None:
            assert pytest.approx(joules, abs=CLOSE * scale) == sum(parts)


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_only_what_waits_may_be_negative(fleet: Followed) -> None:
    """Only `waiting` may be negative, no leaf is infinite or NaN, and a null has a reason."""
    for item in fleet.trees("node", seconds=SECONDS):
        waiting = min(0.0, *(entry.energy_joules or 0.0 for entry in entries(item.tree)))
        for entry in entries(item.tree):
            assert entry.reasons or entry.energy_joules is not None
            assert abs(entry.energy_joules or 0.0) < 1e12
            if entry.name in ("unallocated", "unknown", "idle", "loading", "effective", "undecided"):
                assert (entry.energy_joules or 0.0) >= 0.0
            elif not waiting:
                assert (entry.energy_joules or 0.0) >= -1e-6
