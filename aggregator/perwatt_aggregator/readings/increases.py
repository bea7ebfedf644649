"""Increases of the counters of a ring between two of its rows."""

from perwatt_aggregator.optional import total
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.sample import GPU_ENERGY, Counter


class Increases:
    """The increase of every counter in *ring* between the rows *first* and *last*."""

    def __init__(self, ring: NodeRing, first: int, last: int) -> None:
        self.ring = ring
        self.first = first
        self.last = last
        self._counters: dict[str, list[Counter]] = {}
        self._increases: dict[Counter, float | None] = {}
        for counter in ring.columns:
            self._counters.setdefault(counter.name, []).append(counter)
            self._increases[counter] = ring.increase(counter, first, last)

    def counters(self, name: str) -> list[Counter]:
        """All counters of one name."""
        return self._counters.get(name, [])

    def of(self, counter: Counter) -> float | None:
        """The increase of one counter; None if it was not read twice."""
        return self._increases.get(counter)

    def span(self, counter: Counter) -> tuple[int, int] | None:
        """The first and the last row in between with a reading; None if the counter was not read twice."""
        return self.ring.span(counter, self.first, self.last)

    def total(self, name: str) -> float | None:
        """The sum over all counters of one name; None if none was read twice."""
        return total(self._increases[counter] for counter in self.counters(name))

    def resets(self, counter: Counter) -> list[int]:
        """The rows in between at which the counter had been reset."""
        return [row for row in self.ring.columns[counter].resets if self.first < row <= self.last]

    def calibration(self, gpu: str) -> float:
        """The ratio by which joules of a GPU are multiplied."""
        return self.ring.calibration_ratios.get(gpu, 1.0)

    def divergence(self, gpu: str) -> float | None:
        """By what ratio the GPU's counter exceeds its integrated power; None if not known."""
        return self.ring.divergence_ratios.get(gpu)

    def board_joules(self, first: int, last: int) -> float:
        """Joules of all boards between two rows in between."""
        increases = (
            (counter.gpu, self.ring.increase(counter, first, last)) for counter in self.counters(GPU_ENERGY)
        )
        return sum((joules or 0.0) * self.calibration(gpu) for gpu, joules in increases)
