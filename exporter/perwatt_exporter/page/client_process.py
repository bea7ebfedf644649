"""Process metrics by prometheus_client's own collectors, as families: those of the aggregator."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from perwatt_exporter.page.family import Collected, Family, Kind


class ClientProcessMetrics:
    """Reads process_* and python_info. `proc` is where the kernel shows processes."""

    def __init__(self, proc: str = "/proc") -> None:
        self._collectors: tuple[Collector, ...] = (
            ProcessCollector(proc=proc, registry=None),
            PlatformCollector(registry=None),
        )

    def __call__(self) -> tuple[Collected[Any], ...]:
        collected = (collector.collect() for collector in self._collectors)
        return tuple(_collected(metric) for metrics in collected for metric in metrics)


def _collected(metric: Metric) -> Collected[Any]:
    kind: Kind = "counter" if metric.type == "counter" else "gauge"
    name = f"{metric.name}_total" if kind == "counter" else metric.name
    labels = tuple(metric.samples[0].labels)
    samples = [(tuple(sample.labels.values()), sample.value) for sample in metric.samples]
    return Family(name, kind, metric.documentation, labels, _nothing), samples


def _nothing(_: object) -> Iterable[Any]:
    """These families are read by their collectors, not from a snapshot."""
    return ()
