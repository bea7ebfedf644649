"""Increases of the counters of a ring between two of its rows."""

from collections.abc import Iterable
from functools import cached_property
from itertools import chain

from perwatt_aggregator.optional import total
from perwatt_aggregator.readings.node_ring import NodeRing
from perwatt_aggregator.readings.sample import GPU_ENERGY, UNATTRIBUTED, WORKLOAD_ENERGY, Counter


class Refusals:
    """Why readings in a window do not count, by what their counters belong to."""

    def __init__(self, refused: Iterable[tuple[Counter, str]]) -> None:
        self._by_owner: dict[tuple[str, str], set[str]] = {}
        for counter, reason in refused:
            if counter.workload:
                owner = ("workload", counter.workload)
            elif counter.gpu:
                owner = ("gpu", counter.gpu)
            else:
                owner = ("meter", counter.name)
            self._by_owner.setdefault(owner, set()).add(reason)

    def of_workload(self, workload: str, gpus: Iterable[str]) -> frozenset[str]:
        """Those of a workload, and of its *gpus*."""
        own = self._by_owner.get(("workload", workload), ())
        return frozenset(own).union(*map(self.of_gpu, gpus))

    def of_gpu(self, gpu: str) -> frozenset[str]:
        return frozenset(self._by_owner.get(("gpu", gpu), ()))

    def of_meter(self, *names: str) -> frozenset[str]:
        """Those of the counters of these names, which belong to the node."""
        return frozenset().union(*(self._by_owner.get(("meter", name), ()) for name in names))


class Increases:
    """
    The increase of every counter in *ring* between the rows *first* and *last*.

    Counters that ended before *first* are left out, so that the cost follows those in the window.
    """

    def __init__(self, ring: NodeRing, first: int, last: int) -> None:
        self.ring = ring
        self.first = first
        self.last = last
        self._counters: dict[str, list[Counter]] = {}
        self._increases: dict[Counter, float | None] = {}
        self.refusals = Refusals(
            (counter, refusal.reason) for counter, refusal in ring.refused.items() if refusal.row >= first
        )
        for counter, column in chain(ring.columns.live.items(), ring.columns.ended_since(first)):
            self._counters.setdefault(counter.name, []).append(counter)
            self._increases[counter] = column.increase(first, last)

    def counters(self, name: str) -> list[Counter]:
        """The counters of one name with a reading after *first*."""
        return self._counters.get(name, [])

    def counters_ever(self, name: str) -> list[Counter]:
        """All counters of one name in the ring."""
        ended = [counter for counter, _ in self.ring.columns.ended_of(name)]
        current = self.counters(name)
        return (
            current + [counter for counter in ended if counter not in self._increases] if ended else current
        )

    @cached_property
    def served_workloads(self) -> frozenset[str]:
        """The workloads that were ever active, as far as counters in the ring show."""
        columns = self.ring.columns
        energies = chain(columns.live.items(), columns.ended_of(WORKLOAD_ENERGY))
        return frozenset(
            counter.workload
            for counter, column in energies
            if counter.name == WORKLOAD_ENERGY and counter.part == "active" and column.raw > 0.0
        )

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
        resets = self.ring.columns[counter].resets
        return [row for row in resets if self.first < row <= self.last] if resets else []

    def calibration(self, gpu: str) -> float:
        """The ratio by which joules of a GPU are multiplied."""
        return self.ring.calibration_ratios.get(gpu, 1.0)

    def divergence(self, gpu: str) -> float | None:
        """By what ratio the GPU's counter last exceeded its integrated power; None if never known."""
        return self.ring.divergence_ratios.get(gpu)

    def board_joules(self, first: int, last: int) -> float:
        """Joules of all boards between two rows in between."""
        gpus = {counter.gpu for counter in self.counters(GPU_ENERGY)}
        return sum((self.joules_of(gpu, first, last) or 0.0) * self.calibration(gpu) for gpu in gpus)

    def joules_of(self, gpu: str, first: int, last: int) -> float | None:
        """
        Joules of a board between two rows in between, not calibrated; None if it was not read twice.

        If its source changed, its series show neither what was used between the last reading of the one and
        the first of the other, nor what the agent integrated while a counter stood still. Their owners do.
        """
        shown = self._of_gpu(GPU_ENERGY, gpu, first, last)
        if len(shown) < 2:
            return total(shown)
        owned = (self._of_gpu(name, gpu, first, last) for name in (WORKLOAD_ENERGY, UNATTRIBUTED))
        return max(sum(shown), sum(map(sum, owned)))

    def _of_gpu(self, name: str, gpu: str, first: int, last: int) -> list[float]:
        """The increases of a GPU's counters of one name that were read twice between two rows."""
        increases = (
            self.ring.increase(counter, first, last) for counter in self.counters(name) if counter.gpu == gpu
        )
        return [increase for increase in increases if increase is not None]
