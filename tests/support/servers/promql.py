"""What rules and dashboards may name, and what an expression does name."""

from typing import Any

import promql_parser

from perwatt_aggregator.api import metrics
from perwatt_exporter.families.all import ALL

# The labels of every family that an agent or the aggregator shows, by its name.
LABELS = {family.name: family.labels for family in ALL} | {
    family.name: family.labels for family in metrics.FAMILIES
}
METRICS = frozenset(LABELS)


def nodes(expression: str) -> list[Any]:
    """Every node of an expression's tree. Raises ValueError for what is no PromQL."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    return found


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Every series selector of an expression, those of ranges included."""
    return [node for node in nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


def metric_names(expression: str) -> set[str]:
    return {selector.name or "" for selector in selectors(expression)}
