"""Scrapes: raw samples grouped by target and instant, as the agent's page had them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from perwatt_agent.net.prometheus_text import Series
from perwatt_aggregator.prometheus.client import Row

UP = "up"
SNAPSHOT = "perwatt_snapshot_timestamp_seconds"


class TargetKey(NamedTuple):
    """What makes a target unique in an engine."""

    job: str
    instance: str


class ScrapedTarget(Struct, frozen=True):
    """
    One target of the engine, with the instants of its scrapes, also of those that failed.

    `up` is whether the latest one succeeded, None if the engine has no `up` of the target.
    """

    key: TargetKey
    labels: Mapping[str, str]
    times: tuple[float, ...]
    up: bool | None

    def interval_seconds(self, default_seconds: float) -> float:
        """The time between two scrapes: the median of those seen."""
        steps = sorted(later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False))
        return steps[(len(steps) - 1) // 2] if steps else default_seconds


class Scrape(NamedTuple):
    """All series of one scrape, which have its instant in common."""

    unix_seconds: float
    series: list[tuple[Series, float]]


def key_of(row: Row) -> TargetKey:
    return TargetKey(row.metric.get("job", ""), row.metric.get("instance", ""))


def samples(row: Row) -> Iterator[tuple[float, float]]:
    """The samples of a row. A marker that a series ended is no sample."""
    for unix_seconds, text in row.values:
        value = math.nan if text is None else float(text)
        if not math.isnan(value):
            yield unix_seconds, value


def targets_of(rows: Iterable[Row]) -> dict[TargetKey, ScrapedTarget]:
    """The targets of `up` and of the agents' own timestamps. Raises ValueError for a value that is none."""
    times: dict[TargetKey, set[float]] = {}
    labels: dict[TargetKey, Mapping[str, str]] = {}
    ups: dict[TargetKey, tuple[float, float]] = {}
    for row in rows:
        key, found = key_of(row), tuple(samples(row))
        if found:
            times.setdefault(key, set()).update(unix for unix, _ in found)
            own = {name: value for name, value in row.metric.items() if name != "__name__"}
            if row.metric.get("__name__") == UP:
                ups[key] = max(found[-1], ups.get(key, found[-1]))
                labels[key] = own
            labels.setdefault(key, own)
    return {
        key: ScrapedTarget(key, labels[key], tuple(sorted(found)), ups[key][1] == 1.0 if key in ups else None)
        for key, found in sorted(times.items())
    }


def scrapes_of(
    rows: Iterable[Row], targets: Mapping[TargetKey, ScrapedTarget]
) -> dict[TargetKey, list[Scrape]]:
    """
    The scrapes of each of *targets*, in order; labels of the target are left out of the series.

    Raises ValueError for a value that is none.
    """
    named = [
        (_series(row.metric, targets[key].labels), key, row)
        for row in rows
        if (key := key_of(row)) in targets
    ]
    # A server answers in any order, and a sum depends on its order in the last digit: two aggregators agree.
    named.sort(key=lambda one: (one[0].name, one[0].labels))
    found: dict[TargetKey, dict[float, list[tuple[Series, float]]]] = {}
    for series, key, row in named:
        scrapes = found.setdefault(key, {})
        for unix_seconds, value in samples(row):
            scrapes.setdefault(unix_seconds, []).append((series, value))
    return {
        key: [Scrape(unix_seconds, scrapes[unix_seconds]) for unix_seconds in sorted(scrapes)]
        for key, scrapes in found.items()
    }


def _series(metric: Mapping[str, str], of_target: Mapping[str, str]) -> Series:
    own = tuple(
        sorted(
            (name, value) for name, value in metric.items() if name != "__name__" and name not in of_target
        )
    )
    return Series(metric.get("__name__", ""), own)
