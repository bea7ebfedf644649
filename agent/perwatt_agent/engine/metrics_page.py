"""Metrics page of one engine: sums by role, with models and ranks resolved and bad values rejected."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from perwatt_agent.engine.endpoint_poller import EngineFailure
from perwatt_agent.engine.histograms import histogram_of
from perwatt_agent.engine.kind import EngineKind, Pick, Role, histogram_series
from perwatt_agent.facts.engine_counts import Histogram
from perwatt_agent.net.prometheus_text import Series

Labels = tuple[tuple[str, str], ...]

MAX_TOKENS = 2.0**53
"""Above it, a float cannot count by ones."""
MAX_COUNT = 1e27
"""Above a century of floating-point operations of any GPU, which are the largest counts."""

# Labels by which a page may name its models if it lacks that of the engine, as in Triton's vLLM backend.
_MODEL_LABELS = ("model_name", "model")
# Model labels of engines that do not know their model.
_NO_MODEL = frozenset({"", "undefined"})


class EngineMetricsPage:
    """
    The samples of engine *kind* on one page, for one model.

    *model* selects one of several models on the page, and names the model of a page without names. On a
    *shared* page, whose other models have endpoints of their own, only what the page labels with *model*
    counts. Raises EngineFailure: several_models if the page has several models and *model* is not one of
    them, no_model if a shared page does not show it.
    """

    def __init__(
        self,
        kind: EngineKind,
        samples: Iterable[tuple[Series, float]],
        model: str | None,
        *,
        shared: bool = False,
    ) -> None:
        own = dict(samples)  # a repeated series counts once
        found = _models(kind, own)
        if shared and model not in found:
            raise EngineFailure(
                "no_model",
                f"the page shows nothing of the model {model}, and other endpoints read the page too: set "
                "the endpoint's `model` to a name that the page shows, or remove the other endpoints",
            )
        if len(found) > 1 and model not in found:
            raise EngineFailure(
                "several_models",
                f"the page has {len(found)} models: set the endpoint's `model` to one of "
                f"{', '.join(sorted(found)[:8])}",
            )
        self.model = model or next(iter(found), "")
        self._breakdown_labels = kind.breakdown_labels()
        if shared or len(found) > 1:
            # A counter without a model, such as that of the HTTP server, belongs to all of them.
            counters = kind.counters()
            own = {
                series: value
                for series, value in own.items()
                if _model_of(kind, series) == model
                or (_model_of(kind, series) in _NO_MODEL and series.name not in counters)
            }
        self._shown = own.keys()
        self.ranks = _count_ranks(kind, own)
        self._samples = _by_name(_without_mirrors(own, kind.mirror_labels))
        self._zero = self._unused(kind.appear_with_requests)

    def names(self) -> Collection[str]:
        """Return the metric names on the page."""
        return self._samples.keys()

    def role(self, label: str) -> Literal["prefill", "decode"] | None:
        """Return the one role that *label* gives the engine; None if it gives none, or several."""
        values = {series.label(label) for named in self._samples.values() for series, _ in named} - {""}
        if values == {"prefill"}:
            return "prefill"
        return "decode" if values == {"decode"} else None

    def samples(self, names: Iterable[str]) -> dict[Series, float]:
        """Return the samples of the metrics *names*."""
        return {series: value for name in names for series, value in self._samples.get(name, ())}

    def replace(self, samples: Mapping[Series, float]) -> None:
        """Replace all samples of the metrics in *samples*."""
        self._samples |= _by_name(samples)

    def tokens(self, role: Role) -> float | None:
        """Return the sum of a counter, or None if the page lacks it. Raises EngineFailure for a bad value."""
        value = self._sum(role)
        if value is not None and not (is_count(value) and value <= MAX_TOKENS):
            raise EngineFailure("bad_value", f"{role[0].name} is no number from 0 to 2^53")
        return value

    def count(self, role: Role) -> float | None:
        """Return the sum of a counter, or None if the page lacks it or has a bad value."""
        value = self._sum(role)
        return value if value is not None and is_count(value) else None

    def mean_count(self, role: Role) -> float | None:
        """Return the mean of a counter over its replicas, or None if the page lacks it or has a bad value."""
        value = self.count(role)
        replicas = {replica_of(series, self._breakdown_labels) for series, _ in self._matching(role) or ()}
        return value / len(replicas) if value is not None and replicas else None

    def common(self, role: Role) -> float | None:
        """Return the value that all replicas show, or None if the page lacks it or they differ."""
        values = {value for _, value in self._matching(role) or ()}
        return values.pop() if len(values) == 1 and all(map(is_count, values)) else None

    def covers(self, gauge: Role, counter: Role) -> bool:
        """Return whether each replica on the page that has counted something shows the gauge too."""
        shown = {replica_of(series, self._breakdown_labels) for series, _ in self._matching(gauge) or ()}
        return all(
            replica_of(series, self._breakdown_labels) in shown
            for series, value in self._matching(counter) or ()
            if value and series in self._shown
        )

    def gauge(self, role: Role) -> float | None:
        """Return the sum of a gauge over its replicas, or None if the page lacks it or has a bad value."""
        values = self._by_replica(role)
        return sum(values) if values and all(map(is_count, values)) else None

    def ratio(self, role: Role) -> float | None:
        """Return the mean of a ratio over its replicas, or None if the page lacks it or has a bad value."""
        values = self._by_replica(role)
        return sum(values) / len(values) if values and all(0.0 <= value <= 1.0 for value in values) else None

    def histogram(self, role: Role) -> Histogram | None:
        """Return a histogram summed over all ranks, or None if the page lacks it. Raises BadHistogram."""
        for pick in role:
            buckets, sums = (
                [sample for sample in self._samples.get(name, ()) if _allowed(pick, sample[0])]
                for name in histogram_series(pick)
            )
            if buckets:
                return histogram_of(pick.name, buckets, sums)
        return None

    def _unused(self, appear_with_requests: Collection[str]) -> frozenset[str]:
        """Return those of the metrics that are absent because no request has come yet."""
        present = [sample for name in appear_with_requests for sample in self._samples.get(name, ())]
        if any(value != 0.0 for _, value in present):
            return frozenset()
        return frozenset(name for name in appear_with_requests if name not in self._samples)

    def _by_replica(self, role: Role) -> list[float]:
        """
        Return a gauge, one value for each replica.

        The processes of one server repeat the same gauge, so these are not added.
        """
        by_replica: dict[Labels, float] = {}
        for series, value in self._matching(role) or ():
            replica = replica_of(series, self._breakdown_labels)
            # A NaN must not hide behind a number.
            by_replica[replica] = value if math.isnan(value) else max(value, by_replica.get(replica, value))
        return list(by_replica.values())

    def _sum(self, role: Role) -> float | None:
        matching = self._matching(role)
        if matching is None:
            return None
        values = [value for _, value in matching]
        return sum(values) if all(map(is_count, values)) else math.nan

    def _matching(self, role: Role) -> list[tuple[Series, float]] | None:
        for pick in role:
            if pick.name in self._samples or pick.zero_beside in self._samples or pick.name in self._zero:
                parts = (pick, *pick.plus)
                return [
                    sample
                    for part in parts
                    for sample in self._samples.get(part.name, ())
                    if _allowed(part, sample[0])
                ]
        return None


def replica_of(series: Series, breakdown_labels: Collection[str]) -> Labels:
    """Return the labels that identify the replica of a series."""
    return tuple(pair for pair in series.labels if pair[0] not in breakdown_labels)


def is_count(value: float) -> bool:
    """Return whether a value can be a count."""
    return 0.0 <= value <= MAX_COUNT


def _models(kind: EngineKind, samples: Iterable[Series]) -> set[str]:
    return {_model_of(kind, series) for series in samples if kind.is_own(series.name)} - _NO_MODEL


def _count_ranks(kind: EngineKind, samples: Iterable[Series]) -> int | None:
    """Return how many data-parallel ranks the engine's own metrics show; None if none has the labels."""
    ranks = {tuple(map(series.label, kind.rank_labels)) for series in samples if kind.is_own(series.name)}
    return len([rank for rank in ranks if any(rank)]) or None


def _model_of(kind: EngineKind, series: Series) -> str:
    """Return the model that a series is labelled with, empty if none; some engines have one model only."""
    if not kind.model_label:
        return ""
    labels = (kind.model_label, *_MODEL_LABELS)
    return next((model for label in labels if (model := series.label(label))), "")


def _by_name(samples: Mapping[Series, float]) -> dict[str, list[tuple[Series, float]]]:
    named: dict[str, list[tuple[Series, float]]] = {}
    for series, value in samples.items():
        named.setdefault(series.name, []).append((series, value))
    return named


def _without_mirrors(samples: dict[Series, float], mirror_labels: tuple[str, ...]) -> dict[Series, float]:
    """Keep, of the series that differ only in *mirror_labels*, the one with the lowest rank."""
    if not mirror_labels:
        return samples
    lowest: dict[Series, tuple[tuple[int, ...], Series]] = {}
    for series in samples:
        work = Series(series.name, tuple(pair for pair in series.labels if pair[0] not in mirror_labels))
        ranked = (tuple(_rank_number(series.label(label)) for label in mirror_labels), series)
        if work not in lowest or ranked[0] < lowest[work][0]:
            lowest[work] = ranked
    return {series: samples[series] for _, series in lowest.values()}


def _rank_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _allowed(pick: Pick, series: Series) -> bool:
    return all(series.label(label) in values for label, values in pick.where)
