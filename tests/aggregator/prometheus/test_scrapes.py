"""Scrapes from raw samples: the same whatever the order in which an engine answers."""

from itertools import permutations

from perwatt_agent.net.prometheus_text import Series
from perwatt_aggregator.prometheus.client import Row
from perwatt_aggregator.prometheus.scrapes import Scrape, scrapes_of, targets_of

TARGET = {"job": "agents", "instance": "a:9836"}
ROWS = (
    Row({"__name__": "up", **TARGET}, [(10.0, "1"), (25.0, "1")]),
    Row({"__name__": "perwatt_x_total", "gpu": "B", **TARGET}, [(10.0, "3"), (25.0, "4")]),
    Row({"__name__": "perwatt_x_total", "gpu": "A", **TARGET}, [(10.0, "1"), (25.0, None)]),
)


def test_any_order_of_series() -> None:
    """The sums of two aggregators are equal to the last digit, in whatever order each had its series."""
    up, a, b = (
        Series("up"),
        Series("perwatt_x_total", (("gpu", "A"),)),
        Series("perwatt_x_total", (("gpu", "B"),)),
    )
    expected = [Scrape(10.0, [(a, 1.0), (b, 3.0), (up, 1.0)]), Scrape(25.0, [(b, 4.0), (up, 1.0)])]
    targets = targets_of(ROWS)

    for rows in permutations(ROWS):
        assert dict.fromkeys(targets, expected) == scrapes_of(rows, targets)
