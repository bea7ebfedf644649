"""Reader of a GPU's activity from the ring of its node."""

from perwatt_aggregator.readings.facts import TENSOR, GpuFacts
from perwatt_aggregator.readings.gauges import SM_ACTIVE, TENSOR_ACTIVE, UP, Gauge
from perwatt_aggregator.readings.increases import Increases
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
"""Bytes per second of one lane in each direction, by generation: transfers times the code's efficiency."""


def gpu_activity(increases: Increases, facts: GpuFacts, nominal_seconds: float) -> GpuActivity:
    """The activity of a GPU; coverage is relative to *nominal_seconds*."""
    reader = _Reader(increases, facts.gpu, nominal_seconds)
    return GpuActivity(
        name=facts.name,
        up=reader.gauge(UP),
        sm_active=reader.cycles(Counter(SM_CYCLES, gpu=facts.gpu, part="active")) or reader.gauge(SM_ACTIVE),
        tensor_active=reader.cycles(Counter(PIPE_CYCLES, gpu=facts.gpu, part=TENSOR))
        or reader.gauge(TENSOR_ACTIVE),
        pcie=reader.traffic(PCIE_BYTES),
        nvlink=reader.traffic(NVLINK_BYTES),
        pcie_bytes_per_second=_pcie_bytes_per_second(facts),
        power_limit_watts=facts.power_limit_watts,
    )


def _pcie_bytes_per_second(facts: GpuFacts) -> float | None:
    # The maximum of the GPU in this slot: an idle link runs at less.
    lane = PCIE_LANE_BYTES_PER_SECOND.get(int(facts.pcie_generation_max or 0))
    return lane * facts.pcie_lanes_max if lane and facts.pcie_lanes_max else None


class _Reader:
    def __init__(self, increases: Increases, gpu: str, nominal_seconds: float) -> None:
        self._increases = increases
        self._gpu = gpu
        self._nominal_seconds = nominal_seconds

    def gauge(self, name: str) -> Mean | None:
        increases = self._increases
        mean = increases.ring.mean(Gauge(name, self._gpu), increases.first, increases.last)
        return None if mean is None else Mean(mean[0], self._coverage(mean[1]), "gauge")

    def cycles(self, counter: Counter) -> Mean | None:
        """The share of the SMs' cycles that *counter* counted; None unless both have the same rows."""
        elapsed = Counter(SM_CYCLES, gpu=self._gpu, part="elapsed")
        seconds = self._seconds(counter)
        cycles, elapsed_cycles = self._increases.of(counter), self._increases.of(elapsed)
        if seconds is None or seconds != self._seconds(elapsed) or cycles is None or not elapsed_cycles:
            return None
        return Mean(cycles / elapsed_cycles, self._coverage(seconds), "counter")

    def traffic(self, name: str) -> Traffic | None:
        transmitted, received = (
            Counter(name, gpu=self._gpu, part=part) for part in ("transmitted", "received")
        )
        sent_bytes, received_bytes = self._increases.of(transmitted), self._increases.of(received)
        seconds = self._seconds(transmitted)
        if not seconds or seconds != self._seconds(received) or sent_bytes is None or received_bytes is None:
            return None
        reset = bool(self._increases.resets(transmitted) or self._increases.resets(received))
        return Traffic(sent_bytes / seconds, received_bytes / seconds, self._coverage(seconds), reset)

    def _seconds(self, counter: Counter) -> float | None:
        """Time between the first and the last reading of a counter; None if it was not read twice."""
        increases = self._increases
        if increases.of(counter) is None:
            return None
        span = increases.ring.span(counter, increases.first, increases.last)
        return None if span is None else increases.ring.unix(span[1]) - increases.ring.unix(span[0])

    def _coverage(self, seconds: float) -> float:
        return min(1.0, seconds / self._nominal_seconds)
