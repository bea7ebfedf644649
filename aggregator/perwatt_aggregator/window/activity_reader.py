"""Reads what a GPU did off the ring of its node."""

from perwatt_aggregator.readings.facts import TENSOR, GpuFacts
from perwatt_aggregator.readings.gauges import SM_ACTIVE, TENSOR_ACTIVE, UP, Gauge
from perwatt_aggregator.readings.growth import Growth
from perwatt_aggregator.readings.sample import NVLINK_BYTES, PCIE_BYTES, PIPE_CYCLES, SM_CYCLES, Counter
from perwatt_aggregator.window.activity import GpuActivity, Mean, Traffic

PCIE_LANE_BYTES_PER_SECOND = {
    1: 2.5e9 * 8 / 10 / 8,
    2: 5e9 * 8 / 10 / 8,
    3: 8e9 * 128 / 130 / 8,
    4: 16e9 * 128 / 130 / 8,
    5: 32e9 * 128 / 130 / 8,
    6: 64e9 * 242 / 256 / 8,
}
"""What one lane carries each way, by generation: transfers a second times the code's efficiency, in bytes."""


def gpu_activity(growth: Growth, facts: GpuFacts, nominal_seconds: float) -> GpuActivity:
    """Return what a GPU did; coverage is held against *nominal_seconds*."""
    reader = _Reader(growth, facts.gpu, nominal_seconds)
    return GpuActivity(
        name=facts.name,
        up=reader.gauge(UP),
        sm_active=reader.cycles(Counter(SM_CYCLES, gpu=facts.gpu, part="active")) or reader.gauge(SM_ACTIVE),
        tensor_active=reader.cycles(Counter(PIPE_CYCLES, gpu=facts.gpu, part=TENSOR))
        or reader.gauge(TENSOR_ACTIVE),
        pcie=reader.traffic(PCIE_BYTES),
        nvlink=reader.traffic(NVLINK_BYTES),
        pcie_bytes_per_second=_pcie_bytes_per_second(facts),
    )


def _pcie_bytes_per_second(facts: GpuFacts) -> float | None:
    # What the GPU has in this slot, not what an idle link has come down to.
    lane = PCIE_LANE_BYTES_PER_SECOND.get(int(facts.pcie_generation_max or 0))
    return lane * facts.pcie_lanes_max if lane and facts.pcie_lanes_max else None


class _Reader:
    def __init__(self, growth: Growth, gpu: str, nominal_seconds: float) -> None:
        self._growth = growth
        self._gpu = gpu
        self._nominal_seconds = nominal_seconds

    def gauge(self, name: str) -> Mean | None:
        growth = self._growth
        mean = growth.ring.mean(Gauge(name, self._gpu), growth.first, growth.last)
        return None if mean is None else Mean(mean[0], self._coverage(mean[1]), "gauge")

    def cycles(self, counter: Counter) -> Mean | None:
        """The share of the SMs' cycles that *counter* counted, where both were read at the same instants."""
        elapsed = Counter(SM_CYCLES, gpu=self._gpu, part="elapsed")
        seconds = self._seconds(counter)
        cycles, of = self._growth.increase(counter), self._growth.increase(elapsed)
        if seconds is None or seconds != self._seconds(elapsed) or cycles is None or not of:
            return None
        return Mean(cycles / of, self._coverage(seconds), "counter")

    def traffic(self, name: str) -> Traffic | None:
        transmitted, received = (
            Counter(name, gpu=self._gpu, part=part) for part in ("transmitted", "received")
        )
        sent, got = self._growth.increase(transmitted), self._growth.increase(received)
        seconds = self._seconds(transmitted)
        if not seconds or seconds != self._seconds(received) or sent is None or got is None:
            return None
        reset = bool(self._growth.resets(transmitted) or self._growth.resets(received))
        return Traffic(sent / seconds, got / seconds, self._coverage(seconds), reset)

    def _seconds(self, counter: Counter) -> float | None:
        """The time between the first and the last reading of a counter; None without two."""
        growth = self._growth
        if growth.increase(counter) is None:
            return None
        span = growth.ring.span(counter, growth.first, growth.last)
        return None if span is None else growth.ring.unix(span[1]) - growth.ring.unix(span[0])

    def _coverage(self, seconds: float) -> float:
        return min(1.0, seconds / self._nominal_seconds)
