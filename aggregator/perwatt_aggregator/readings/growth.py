"""How much each counter of a ring grew between two of its rows."""

from perwatt_aggregator.optional import total
from perwatt_aggregator.readings.ring import NodeRing
from perwatt_aggregator.readings.sample import GPU_ENERGY, Counter


class Growth:
    """What grew in *ring* between the rows *first* and *last*."""

    def __init__(self, ring: NodeRing, first: int, last: int) -> None:
        self.ring = ring
        self.first = first
        self.last = last
        self._counters: dict[str, list[Counter]] = {}
        self._grown: dict[Counter, float | None] = {}
        for counter in ring.columns:
            self._counters.setdefault(counter.name, []).append(counter)
            self._grown[counter] = ring.increase(counter, first, last)

    def of(self, name: str) -> list[Counter]:
        """All counters of one name."""
        return self._counters.get(name, [])

    def increase(self, counter: Counter) -> float | None:
        """How much it grew; None where it was not read twice."""
        return self._grown.get(counter)

    def span(self, counter: Counter) -> tuple[int, int] | None:
        """The first and last row within, in which the counter was read; None if it was not read twice."""
        return self.ring.span(counter, self.first, self.last)

    def total(self, name: str) -> float | None:
        """How much all counters of one name grew together; None where none was read twice."""
        return total(self._grown[counter] for counter in self.of(name))

    def resets(self, counter: Counter) -> list[int]:
        """The rows within, in which the counter had started anew."""
        return [row for row in self.ring.columns[counter].resets if self.first < row <= self.last]

    def calibration(self, gpu: str) -> float:
        """What the GPU's joules are to be multiplied by."""
        return self.ring.calibration_ratios.get(gpu, 1.0)

    def board_joules(self, first: int, last: int) -> float:
        """The joules of all boards between two rows within."""
        grown = ((counter.gpu, self.ring.increase(counter, first, last)) for counter in self.of(GPU_ENERGY))
        return sum((joules or 0.0) * self.calibration(gpu) for gpu, joules in grown)
