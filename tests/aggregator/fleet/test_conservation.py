"""Conservation: for any grouping, the groups have the joules and the tokens of the fleet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import FACILITY, Followed

from perwatt_aggregator.schema.common import DIMENSIONS, Boundary, Dimension
from perwatt_aggregator.schema.efficiency import EfficiencyItem

pytestmark = pytest.mark.slow

SECONDS = 60.0
CLOSE = 1e-9


@st.composite
def machines(draw: st.DrawFn, name: str) -> Machine:
    """A node of up to 4 GPUs; workloads hold any of them, also together, and some are of one group."""
    gpus = [Gpu(f"{name}-{index}") for index in range(draw(st.integers(1, 4)))]
    workloads = []
    for index in range(draw(st.integers(0, 3))):
        workload = Workload(
            f"{name}-work-{index}",
            model=draw(st.sampled_from(["llama", "qwen", ""])),
            group=draw(st.sampled_from(["", "g"])),
            engine=draw(st.sampled_from(["vllm", "sglang"])),
        )
        for gpu in draw(st.sets(st.sampled_from([gpu.uuid for gpu in gpus]), min_size=1)):
            workload.take(gpu)
        workloads.append(workload)
    return Machine(gpus, workloads)


def advance(machine: Machine, draw: st.DrawFn) -> None:
    """Five seconds in which each GPU's joules go to its holders in equal parts, or to no workload."""
    machine.unix += 5.0
    for gpu in machine.gpus:
        joules = draw(st.integers(0, 5_000))
        gpu.joules += joules
        gpu.covered_seconds += 5.0
        holders = [workload for workload in machine.workloads if gpu.uuid in workload.joules]
        for workload in holders:
            state = draw(st.sampled_from(["active", "idle", "loading"]))
            workload.take(gpu.uuid, **{state: joules / len(holders)})
        if not holders:
            gpu.unallocated_joules += joules
    for workload in machine.workloads:
        workload.covered_seconds += 5.0
        restarted = draw(st.integers(0, 9)) == 0
        workload.output = draw(st.integers(0, 400)) + (0.0 if restarted else workload.output or 0.0)


@st.composite
def fleets(draw: st.DrawFn) -> Followed:
    fleet = Followed([draw(machines(name)) for name in ("A", "B")], FACILITY)
    fleet.look()
    for _ in range(round(SECONDS / 5.0)):
        fleet.clock.advance(5.0)
        for machine in fleet.machines:
            advance(machine, draw)
        # A scrape that fails loses nothing: the next one brings it all.
        fleet.look(at=[index for index in (0, 1) if draw(st.integers(0, 9))])
    fleet.clock.advance(1.0)
    for machine in fleet.machines:
        machine.unix += 1.0
    fleet.look()
    return fleet


def joules(items: tuple[EfficiencyItem, ...]) -> float:
    return sum(item.energy_joules or 0.0 for item in items)


@settings(max_examples=60, deadline=None)
@given(fleets(), st.sets(st.sampled_from(DIMENSIONS)), st.sampled_from(["gpu_board", "node", "facility"]))
def test_groups_sum_to_the_whole(fleet: Followed, by: set[Dimension], boundary: Boundary) -> None:
    """Grouped by anything at any boundary, no joule and no token appears or gets lost."""
    (whole,) = fleet.items(boundary=boundary, seconds=900.0)
    items = fleet.items(*sorted(by), boundary=boundary, seconds=900.0)

    assert pytest.approx(whole.energy_joules, rel=CLOSE) == joules(items)
    if "gpu" not in by:
        assert (whole.tokens.output or 0) == sum(item.tokens.output or 0 for item in items)


@settings(max_examples=40, deadline=None)
@given(fleets(), st.sampled_from(DIMENSIONS), st.sampled_from(["gpu_board", "node", "facility"]))
def test_a_filter_keeps_a_group(fleet: Followed, name: Dimension, boundary: Boundary) -> None:
    """A filter by a value gives the group of this value, joule by joule and reason by reason."""
    for group in fleet.items(name, boundary=boundary, seconds=900.0):
        where = {name: frozenset((group.group[name] or "",))}
        (kept,) = fleet.aggregator.efficiency(900.0, (), (boundary,), where).items

        assert replace(group, group={}) == kept


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_boundaries_stand_on_each_other(fleet: Followed) -> None:
    """Workloads and rest are the boards, boards and host rest the node, node times PUE the facility."""
    board, node, facility = (
        joules(fleet.items("node", boundary=boundary, seconds=900.0))
        for boundary in ("gpu_board", "node", "facility")
    )
    gpus = fleet.aggregator.gpu_answer(900.0).items
    works = fleet.aggregator.workload_answer(900.0).items
    parts = sum(gpu.unattributed_joules or 0.0 for gpu in gpus) + sum(
        (work.energy_active_joules or 0.0)
        + (work.energy_idle_joules or 0.0)
        + (work.energy_loading_joules or 0.0)
        for work in works
    )

    assert pytest.approx(sum(gpu.energy_joules or 0.0 for gpu in gpus), rel=CLOSE) == parts
    assert pytest.approx(board, rel=CLOSE) == parts
    assert (pytest.approx(board * 1.8), pytest.approx(node * 1.25)) == (node, facility)


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_no_figure_is_invented(fleet: Followed) -> None:
    """No figure is infinite or NaN, none is negative, and a null has a reason beside it."""
    for item in fleet.items("workload", seconds=900.0):
        figures = [item.tokens_per_joule, item.joules_per_token, item.power_watts, item.energy_joules]
        assert all(figure is None or 0.0 <= figure < 1e18 for figure in figures)
        assert item.reasons or None not in figures
