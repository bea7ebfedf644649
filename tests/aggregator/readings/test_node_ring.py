"""The ring: what it keeps, what it forgets, and that it never grows."""

import msgspec
import pytest
from support.fleet.agents import Gpu, Machine, Workload, serving_machine

from perwatt_aggregator.readings.node_ring import (
    MAX_HISTORY_BYTES,
    MAX_SERIES,
    HistoryFull,
    NodeRing,
    TooManySeries,
)
from perwatt_aggregator.readings.page_reader import sample_of_snapshot
from perwatt_aggregator.readings.sample import GPU_ENERGY, OUTPUT_TOKENS, Counter, NodeSample

BOARD = Counter(GPU_ENERGY, gpu="GPU-0", part="counter")


def read(machine: Machine, ring: NodeRing, times: int = 1, seconds: float = 5.0) -> None:
    for _ in range(times):
        machine.run(seconds)
        ring.add(sample_of_snapshot(machine.snapshot()))


def test_increase_between_any_two_rows() -> None:
    """A counter's growth is the difference of its readings, as long as they are kept."""
    ring, machine = NodeRing(60.0, 5.0), serving_machine()
    read(machine, ring, 40)

    assert (26, 39) == (ring.first_row, ring.last_row)
    assert 13 * 5.0 * 300.0 == ring.increase(BOARD, 26, 39)
    assert 300.0 * 5.0 == ring.increase(BOARD, 30, 31)


def test_a_fall_adds_what_comes_after() -> None:
    """A counter that fell started from 0."""
    ring, machine = NodeRing(60.0, 5.0), serving_machine()
    read(machine, ring, 2)
    machine.gpus[0].joules = 0.0
    read(machine, ring, 1)

    assert 2 * 1500.0 == ring.increase(BOARD, 0, 2)
    assert (2,) == ring.columns[BOARD].resets


def test_a_gap_of_one_series() -> None:
    """Where a series is absent at an edge, its nearest reading within the window counts."""
    ring, machine = NodeRing(60.0, 5.0), serving_machine()
    read(machine, ring, 2)
    machine.gpus[0].state = "hung"
    read(machine, ring, 2)
    machine.gpus[0].state = "ok"
    read(machine, ring, 2)

    assert 5 * 1500.0 == ring.increase(BOARD, 0, 5)
    assert 1500.0 == ring.increase(BOARD, 2, 5)
    assert ring.increase(BOARD, 1, 3) is None


def test_series_that_ended_are_forgotten() -> None:
    """Workloads that come and go leave nothing behind."""
    ring, machine = NodeRing(60.0, 5.0), serving_machine()
    sizes = []
    for generation in range(40):
        machine.workloads = [Workload(f"job-{generation}", joules={"GPU-0": [1.0, 0.0, 0.0]})]
        read(machine, ring, 5)
        sizes.append((len(ring.columns), len(ring.attributions)))

    assert sizes[10] == sizes[-1]
    assert sizes[-1][1] <= 4


def test_too_many_series() -> None:
    """A page that runs away is refused as a whole."""
    sample = sample_of_snapshot(serving_machine().snapshot())
    flood = {Counter(OUTPUT_TOKENS, workload=str(index)): 1.0 for index in range(MAX_SERIES)}
    many: NodeSample = msgspec.structs.replace(sample, counters=sample.counters | flood)

    with pytest.raises(TooManySeries):
        NodeRing(60.0, 5.0).add(many)


@pytest.mark.slow
def test_renamed_series_fill_the_history() -> None:
    """New names on each page, which is within its bound: the history starts again, within its own."""
    ring, machine, full = NodeRing(900.0, 1.0), serving_machine(), False
    for generation in range(25):
        machine.run(1.0)
        sample = sample_of_snapshot(machine.snapshot())
        names = {Counter(OUTPUT_TOKENS, workload=f"{generation}-{index}"): 1.0 for index in range(4000)}
        try:
            ring.add(msgspec.structs.replace(sample, counters=sample.counters | names))
        except HistoryFull:
            full = True

        assert ring.bytes <= MAX_HISTORY_BYTES
    assert full


def test_gpus_that_are_renamed_leave_nothing() -> None:
    """What is kept of a GPU beside its counters is dropped with its last reading."""
    ring, machine = NodeRing(60.0, 5.0), serving_machine()
    for generation in range(40):
        machine.gpus = [Gpu(f"GPU-{generation}-{index}") for index in range(40)]
        read(machine, ring, 1)

    assert len(ring.calibration_ratios) <= 40 * 16
    assert len(ring.gauges) <= 40 * 14


@pytest.mark.parametrize(("instant", "row"), [(-9e9, 0), (6.0, 1), (7.4, 1), (7.6, 2), (10.0, 2), (9e9, 4)])
def test_nearest_row(instant: float, row: int) -> None:
    """A window snaps to the reading that is closest."""
    ring, machine = NodeRing(60.0, 5.0), serving_machine()
    ring.add(sample_of_snapshot(machine.snapshot()))
    start = machine.unix
    read(machine, ring, 4)

    assert row == ring.row_near(start + instant)
