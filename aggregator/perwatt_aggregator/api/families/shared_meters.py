"""Shared meter families: the health of meters that cover several nodes."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from perwatt_aggregator.facility.shared_meter import SharedMeter
from perwatt_exporter.page.family import Family, Sample

S = TypeVar("S")
Meters = Callable[[S], Sequence[SharedMeter]]


def shared_meter_families(meters: Meters[S]) -> tuple[Family[S], ...]:
    """The families of a page made from S, in which *meters* finds the shared meters."""

    def up(page: S) -> Iterator[Sample]:
        for meter in meters(page):
            if meter.health.duration_seconds is not None:
                yield (meter.name,), meter.health.success

    def failures(page: S) -> Iterator[Sample]:
        for meter in meters(page):
            for reason, count in meter.health.failures:
                yield (meter.name, reason), count

    return (
        Family(
            "perwatt_aggregator_shared_meter_up",
            "gauge",
            "1 if the latest read of a meter that covers several nodes succeeded, else 0.",
            ("meter",),
            up,
        ),
        Family(
            "perwatt_aggregator_shared_meter_failures_total",
            "counter",
            "Failed reads of a meter that covers several nodes since the aggregator started, by reason.",
            ("meter", "reason"),
            failures,
        ),
    )
