"""Targets for Prometheus: the aggregator's own agents, in the format of HTTP service discovery."""

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

from perwatt_aggregator.schema.discovery import PrometheusTargets
from perwatt_aggregator.targets.target import Target


def prometheus_targets(targets: Iterable[Target]) -> tuple[PrometheusTargets, ...]:
    """
    The *targets*, grouped by their labels; scheme, path and parameters are labels too.

    Credentials are not part of the format: they belong into the configuration of Prometheus.
    """
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for target in targets:
        parts = urlsplit(target.url)
        labels = dict(target.labels)
        if parts.scheme != "http":
            labels["__scheme__"] = parts.scheme
        if (parts.path or "/") != "/metrics":
            labels["__metrics_path__"] = parts.path or "/"
        labels |= {f"__param_{name}": value for name, value in parse_qsl(parts.query)}
        groups.setdefault(tuple(sorted(labels.items())), []).append(parts.netloc)
    return tuple(PrometheusTargets(tuple(found), dict(labels)) for labels, found in groups.items())
