"""What this process costs the machine: prometheus_client's own collectors, as families."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from perwatt_exporter.page.family import Collected, Family, Kind

# Reading them takes as long as half of all other families: no page needs them fresher than this.
PERIOD_SECONDS = 5.0


class ProcessMetrics:
    """
    Reads process_* and python_info, anew when they are older than `period_seconds`.

    `proc` is where the kernel shows processes.
    """

    def __init__(
        self,
        proc: str = "/proc",
        period_seconds: float = PERIOD_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_seconds = period_seconds
        self._monotonic = monotonic
        self._read_at = float("-inf")
        self._collected: tuple[Collected[Any], ...] = ()
        self._collectors: tuple[Collector, ...] = (
            ProcessCollector(proc=proc, registry=None),
            PlatformCollector(registry=None),
        )

    def __call__(self) -> tuple[Collected[Any], ...]:
        now = self._monotonic()
        if now - self._read_at >= self._period_seconds:
            self._read_at = now
            collected = (collector.collect() for collector in self._collectors)
            self._collected = tuple(_collected(metric) for metrics in collected for metric in metrics)
        return self._collected


def _collected(metric: Metric) -> Collected[Any]:
    kind: Kind = "counter" if metric.type == "counter" else "gauge"
    name = f"{metric.name}_total" if kind == "counter" else metric.name
    labels = tuple(metric.samples[0].labels)
    samples = [(tuple(sample.labels.values()), sample.value) for sample in metric.samples]
    return Family(name, kind, metric.documentation, labels, _nothing), samples


def _nothing(_: object) -> Iterable[Any]:
    """These families are read by their collectors, not from a snapshot."""
    return ()
