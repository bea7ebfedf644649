"""docs/aggregator-metrics.md: the metric families of the aggregator's own page."""

from pages.metric_tables import table
from perwatt_aggregator.api.metrics import FAMILIES

INTRODUCTION = """# Metrics of the aggregator

<!-- Generated from perwatt_aggregator/api by `make docs`; do not edit. -->

What `GET /metrics` on port 9837 shows: figures of the default window, what each facility is taken to be, and
the aggregator's own targets. Everything is in base units, ratios are 0 to 1, and what is not valid or not
known is absent, never 0. Beside these the page shows the process itself: `process_*` and `python_info`.

Sums over nodes and over longer times are the work of recording rules (`dashboards/prometheus`), over the
metrics of the agents ([metrics.md](metrics.md)).

"""


def document() -> str:
    return INTRODUCTION + table(FAMILIES)
