"""docs/aggregator-metrics.md: the metric families of the aggregator's own page."""

from pages.metric_tables import table
from perwatt_aggregator.api.metrics import FAMILIES

INTRODUCTION = """# Metrics of the aggregator

<!-- Generated from perwatt_aggregator/api by `make docs`; do not edit. -->

Metrics at `GET /metrics` on port 9837: figures of the default window, PUE, price and carbon intensity of each
facility, and the state of the scraped agents. All are in base units, ratios are 0 to 1, and a value that is
not valid or not known is absent, never 0. The page also has metrics of the aggregator's process: `process_*`
and `python_info`.

For sums over nodes and over longer times, use recording rules (`dashboards/prometheus`) over the agents'
metrics ([metrics.md](metrics.md)).

"""


def document() -> str:
    return INTRODUCTION + table(FAMILIES)
