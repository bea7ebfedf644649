"""Scraped pages as a time-series database keeps them: samples of every series, with its target's labels."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping

from perwatt_agent.net.prometheus_text import PageParser, Series
from perwatt_aggregator.readings.page_reader import WANTED

JOB = "perwatt-agent"
Labels = tuple[tuple[str, str], ...]
Samples = list[tuple[float, float]]


class Scraped:
    """What a Prometheus has after it scraped; series that a page lacks end with a marker, NaN."""

    def __init__(self) -> None:
        self.series: dict[tuple[str, Labels], Samples] = {}
        self._parsers: dict[str, PageParser] = {}
        self._before: dict[str, set[Series]] = {}

    def scrape(
        self, instance: str, unix: float, page: bytes | None, labels: Mapping[str, str] | None = None
    ) -> None:
        """Keep the page of a target, or that it could not be fetched."""
        target = {"job": JOB, "instance": instance, **(labels or {})}
        self.add("up", target, unix, 0.0 if page is None else 1.0)
        found = self._parsers.setdefault(instance, PageParser(WANTED)).parse(page) if page else []
        now = {series for series, _ in found}
        for series, value in found:
            self.add(series.name, {**dict(series.labels), **target}, unix, value)
        for series in self._before.get(instance, set()) - now:
            self.add(series.name, {**dict(series.labels), **target}, unix, math.nan)
        self._before[instance] = now

    def add(self, name: str, labels: Mapping[str, str], unix: float, value: float) -> None:
        self.series.setdefault((name, tuple(sorted(labels.items()))), []).append((unix, value))

    def open_metrics(self) -> str:
        """As text for `promtool tsdb create-blocks-from openmetrics`."""
        return "".join((*self._lines(), "# EOF\n"))

    def _lines(self) -> Iterator[str]:
        for (name, labels), samples in sorted(self.series.items()):
            inside = ",".join(f"{label}={json.dumps(value)}" for label, value in labels)
            for unix, value in samples:
                if not math.isnan(value):
                    yield f"{name}{{{inside}}} {value!r} {unix:.3f}\n"

    def json_lines(self) -> Iterable[str]:
        """As lines for `/api/v1/import` of VictoriaMetrics."""
        for (name, labels), samples in self.series.items():
            known = [(unix, value) for unix, value in samples if not math.isnan(value)]
            row = {
                "metric": {"__name__": name, **dict(labels)},
                "values": [value for _, value in known],
                "timestamps": [round(unix * 1000.0) for unix, _ in known],
            }
            if known:
                yield json.dumps(row) + "\n"
