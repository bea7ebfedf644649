"""Schema of `/v1/sd/prometheus`: targets in the format of Prometheus's HTTP service discovery."""

from msgspec import Struct


class PrometheusTargets(Struct, frozen=True):
    """Agents with common labels."""

    targets: tuple[str, ...]
    labels: dict[str, str]
