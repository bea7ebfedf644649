"""What rules and dashboards may name, and what an expression does name."""

from typing import Any

import promql_parser

from perwatt_exporter import families

# The aggregator's part of the metric contract.
AGGREGATOR_METRICS = frozenset(
    {
        "perwatt_build_info",
        "perwatt_facility_carbon_grams_per_joule",
        "perwatt_facility_energy_joules_total",
        "perwatt_facility_energy_price_per_joule",
        "perwatt_facility_it_energy_joules_total",
        "perwatt_facility_pue_info",
        "perwatt_facility_pue_ratio",
        "perwatt_output_tokens_per_joule",
    }
)
METRICS = AGGREGATOR_METRICS | {family.name for family in families.ALL}


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
