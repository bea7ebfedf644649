"""Increments telescope: what consecutive ticks have is what the counters increased by."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fleet.agents import Gpu, Machine, Workload
from support.fleet.fleets import FACILITY, Followed

from perwatt_aggregator.history.values import PLACE
from perwatt_aggregator.readings.sample import OUTPUT_TOKENS, UNATTRIBUTED, WORKLOAD_ENERGY

pytestmark = pytest.mark.slow

START = 1_800_000_000


def machine(name: str) -> Machine:
    work = [Workload(f"{name}-chat"), Workload(f"{name}-wide", model="qwen")]
    gpus = [Gpu(f"{name}-{index}") for index in range(4)]
    work[0].take(gpus[0].uuid)
    for gpu in gpus[1:3]:
        work[1].take(gpu.uuid)
    return Machine(gpus, work)


def advance(one: Machine, draw: st.DrawFn) -> None:
    """Five seconds: engines restart, pages of engines come late with all that waited, GPUs are unheld."""
    one.unix += 5.0
    for gpu in one.gpus:
        gpu.joules += (joules := draw(st.integers(0, 3_000)))
        gpu.covered_seconds += 5.0
        holder = next((work for work in one.workloads if gpu.uuid in work.joules), None)
        if holder is None:
            gpu.unallocated_joules += joules
        elif draw(st.integers(0, 3)):
            holder.take(gpu.uuid, **{draw(st.sampled_from(["active", "idle"])): joules})
    for work in one.workloads:
        work.covered_seconds += 5.0
        restarted = draw(st.integers(0, 14)) == 0
        work.output = draw(st.integers(0, 400)) + (0.0 if restarted else work.output or 0.0)


@st.composite
def ticks(draw: st.DrawFn) -> tuple[Followed, dict[str, float]]:
    """A fleet, and the sum of its ticks, which are at any instants."""
    fleet = Followed([machine(name) for name in ("A", "B")], FACILITY)
    found: dict[str, float] = defaultdict(float)
    fleet.look()
    for index in range(60):
        fleet.clock.advance(5.0)
        for one in fleet.machines:
            advance(one, draw)
        # A scrape that fails loses nothing: the next one brings it all.
        fleet.look(at=[place for place in (0, 1) if draw(st.integers(0, 4))])
        if index == 59 or draw(st.integers(0, 2)) == 0:
            fleet.look(at=[0, 1] if index == 59 else [])
            tick = asyncio.run(fleet.aggregator.tick(START + 15 * index, 15))
            for kept in tick.owners.values():
                for name in ("gpu_board", "output"):
                    found[name] += kept.values[PLACE[name]]
    return fleet, found


@settings(max_examples=40, deadline=None)
@given(ticks())
def test_ticks_add_up_to_the_counters(case: tuple[Followed, dict[str, float]]) -> None:
    """Over gaps, restarts, late joules and ticks of any length: nothing twice, and nothing lost."""
    fleet, found = case
    joules = tokens = 0.0
    for node in fleet.aggregator.nodes:
        for counter, column in node.ring.columns.live.items():
            if counter.name in (WORKLOAD_ENERGY, UNATTRIBUTED):
                joules += column.total
            elif counter.name == OUTPUT_TOKENS:
                tokens += column.total

    assert joules == pytest.approx(found["gpu_board"], rel=1e-9)
    assert tokens == pytest.approx(found["output"], rel=1e-9)
