"""Gauges in the ring: what a reading stands for, and what is forgotten."""

import math

import pytest
from support.fleet.agents import serving_machine

from perwatt_agent.clock import ManualClock
from perwatt_aggregator.readings.gauges import UP, Gauge, Gauges
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.page_reader import sample_of_snapshot

GAUGE = Gauge(UP, "GPU-0")


def ring_of(*steps: tuple[float, str]) -> NodeRing:
    """A ring at 5 s, with a reading after each so many seconds, in which the GPU is in that state."""
    machine, clock, ring = serving_machine(), ManualClock(), NodeRing(900.0, 5.0)
    for seconds, state in steps:
        machine.run(seconds)
        clock.advance(seconds)
        machine.monotonic = clock.monotonic()
        machine.gpus[0].state = state  # type: ignore[assignment]  # the states of the test are GPUs'
        ring.add(sample_of_snapshot(machine.snapshot()))
    return ring


class TestMean:
    def test_by_time(self) -> None:
        """A reading stands for the time since the one before."""
        ring = ring_of((5.0, "ok"), (10.0, "ok"), (5.0, "lost"), (5.0, "ok"))

        assert (0.75, 20.0) == ring.mean(GAUGE, 0, 3)

    def test_gap(self) -> None:
        """Nobody knows what was so in a gap: that time is not covered."""
        ring = ring_of((5.0, "ok"), (5.0, "lost"), (600.0, "ok"), (5.0, "ok"))

        assert (0.5, 10.0) == ring.mean(GAUGE, 0, 3)

    def test_nothing(self) -> None:
        """Without two readings, or without values, there is no mean."""
        ring = ring_of((5.0, "ok"), (5.0, "ok"))

        assert ring.mean(GAUGE, 1, 1) is None
        assert ring.mean(Gauge(UP, "GPU-9"), 0, 1) is None


class TestRing:
    def test_absent_is_not_a_number(self) -> None:
        """A row without a value of the gauge is NaN, even if the slot held an older value."""
        gauges = Gauges(capacity=2, max_gauges=10)
        gauges.add(0, [(GAUGE, 1.0)])
        gauges.add(1, [(GAUGE, None)])
        gauges.add(2, [])

        assert math.isnan(gauges.at(GAUGE, 2))
        assert [] == list(gauges.values(GAUGE, 1, 2))

    def test_forgets(self) -> None:
        """A gauge without values for the length of the ring frees its slot."""
        gauges = Gauges(capacity=2, max_gauges=1)
        gauges.add(0, [(GAUGE, 1.0), (Gauge(UP, "GPU-1"), 1.0)])
        gauges.add(1, [])
        gauges.add(2, [])
        gauges.add(3, [(Gauge(UP, "GPU-1"), 0.0)])

        assert math.isnan(gauges.at(GAUGE, 3))
        assert 0.0 == gauges.at(Gauge(UP, "GPU-1"), 3)

    @pytest.mark.parametrize("most", [0, 1, 3])
    def test_bounded(self, most: int) -> None:
        """It holds so many gauges and no more; those that it has go on."""
        gauges = Gauges(capacity=4, max_gauges=most)
        for row in range(3):
            gauges.add(row, [(Gauge(UP, f"GPU-{index}"), float(row)) for index in range(5)])

        kept = [index for index in range(5) if not math.isnan(gauges.at(Gauge(UP, f"GPU-{index}"), 2))]
        assert list(range(most)) == kept
