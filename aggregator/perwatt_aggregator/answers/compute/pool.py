"""GPU pool of a group: its activity and traffic as shares of its peak, with what qualifies each."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from perwatt_aggregator.answers.compute.holdings import Held
from perwatt_aggregator.optional import complete_total, product
from perwatt_aggregator.schema.compute import ComputeSource
from perwatt_aggregator.window.activity import Mean, Traffic

Reading = Callable[[Held], Mean | None]
Sources = frozenset[ComputeSource]


class Share(Struct, frozen=True):
    """A share of the peak; None if it is not known."""

    ratio: float | None
    coverage_ratio: float = 1.0
    provenance: Sources = frozenset()
    reasons: frozenset[str] = frozenset()


class Use(Struct, frozen=True):
    """Bytes per second over the links of all GPUs together, and their rate in each direction."""

    transmitted_bytes_per_second: float | None
    received_bytes_per_second: float | None
    rate_bytes_per_second: float | None
    coverage_ratio: float
    provenance: Sources
    reasons: frozenset[str]


class Pool:
    """The GPUs of a group, each weighted by its peak; by its number if one of them has no peak."""

    def __init__(self, held: Sequence[Held]) -> None:
        self.held = held
        self.peak_flops_per_second = complete_total(one.peak_flops_per_second for one in held)
        self.gpus = sum(one.gpus for one in held)

    def peak(self) -> Share:
        """The peak, which is the whole of all shares."""
        found = set()
        if self.peak_flops_per_second is None:
            found.add("no_peak" if self.held else "coverage_low")
        if any(one.peak is not None and not one.peak.is_certain for one in self.held):
            found.add("peak_uncertain")
        if len({one.precision for one in self.held}) > 1:
            found.add("several_precisions")
        if any(one.is_shared for one in self.held):
            found.add("gpus_shared")
        sources = frozenset(one.peak.source for one in self.held if one.peak is not None)
        known = self.peak_flops_per_second is not None
        return Share(1.0 if known else None, provenance=sources, reasons=frozenset(found))

    def alive(self) -> Share:
        """The share of time in which the GPUs answered; 0 for missing GPUs."""
        return self._mean(lambda one: one.activity.up, "coverage_low")

    def alive_gpus(self) -> float:
        """The mean number of GPUs that answered."""
        return sum(one.gpus * one.activity.up.ratio for one in self.held if one.activity.up is not None)

    def working(self, reading: Reading) -> Share:
        """The share of time in which the GPUs answered and the unit of *reading* was active."""

        def while_alive(one: Held) -> Mean | None:
            mean, up = reading(one), one.activity.up
            if up is None or up.ratio == 0.0:
                return up
            if mean is None:
                return None
            return Mean(mean.ratio * up.ratio, min(1.0, mean.coverage_ratio / up.ratio), mean.source)

        return self._mean(while_alive, "no_performance_monitor")

    def use(self, traffic: Callable[[Held], Traffic | None], rate: Callable[[Held], float | None]) -> Use:
        """Traffic over their links, without those of missing GPUs."""
        present = [one for one in self.held if not one.is_missing]
        known = [(one.gpus, bytes_) for one in present if (bytes_ := traffic(one)) is not None]
        carried = complete_total(product(one.gpus, rate(one)) for one in present)
        counted = bool(known) and len(known) == len(present)
        found = set() if counted else {"no_link_counter" if present else "coverage_low"}
        if present and carried is None:
            found.add("no_link_rate")
        if any(one.reset for _, one in known):
            found.add("counter_reset")
        return Use(
            sum(gpus * one.transmitted_bytes_per_second for gpus, one in known) if counted else None,
            sum(gpus * one.received_bytes_per_second for gpus, one in known) if counted else None,
            carried,
            _mean_of((gpus, one.coverage_ratio) for gpus, one in known) if counted else 0.0,
            frozenset(("counter",)) if counted else frozenset(),
            frozenset(found),
        )

    def _mean(self, reading: Reading, lacking: str) -> Share:
        known = [(self._weight(one), found) for one in self.held if (found := _of(one, reading)) is not None]
        if not known or len(known) < len(self.held):
            return Share(None, 0.0, reasons=frozenset((lacking if self.held else "coverage_low",)))
        return Share(
            _mean_of((weight, mean.ratio) for weight, mean in known),
            _mean_of((weight, mean.coverage_ratio) for weight, mean in known),
            frozenset(mean.source for _, mean in known),
        )

    def _weight(self, one: Held) -> float:
        peak = one.peak_flops_per_second
        return one.gpus if peak is None or self.peak_flops_per_second is None else peak


def _of(one: Held, reading: Reading) -> Mean | None:
    return Mean(0.0, 1.0, "gauge") if one.is_missing else reading(one)


def _mean_of(weighed: Iterable[tuple[float, float]]) -> float:
    pairs = list(weighed)
    return sum(weight * value for weight, value in pairs) / sum(weight for weight, _ in pairs)
