"""A live PUE while nodes come and go: each counts for the time in which it belongs to the facility."""

import math

import pytest

from perwatt_aggregator.facility.history import EnergyHistory, measured_energies

HOUR = 3600.0


def history(watts: float, first: float = 0.0, last: float = HOUR, begin: float = -math.inf) -> EnergyHistory:
    """Readings every 10 s at a steady power."""
    found = EnergyHistory(HOUR, begin)
    for start in range(int(first), int(last), 10):
        found.add(float(start), start + 10.0, watts * 10.0)
    return found


def test_a_node_that_joins_and_one_that_leaves() -> None:
    """Before it joined and after it left, a node has no joules; only the minute of the change is left out."""
    joined = history(100.0, first=1210.0, begin=1205.0)
    left = history(300.0, last=2400.0)
    left.end_seconds = 2405.0
    found = measured_energies(history(1000.0), (history(500.0), joined, left), HOUR)

    assert found is not None
    minutes = HOUR / 60.0
    assert (minutes - 2.0) * 60.0 == found.seconds
    expected = 500.0 * (HOUR - 120.0) + 100.0 * (HOUR - 1260.0 - 60.0) + 300.0 * (2400.0 - 60.0)
    assert expected == pytest.approx(found.it_joules)
    assert 1000.0 * (HOUR - 120.0) == pytest.approx(found.facility_joules)


def test_a_node_that_joined_and_was_never_read() -> None:
    """Its joules are not known: nothing is measured from then on, and all before stays."""
    found = measured_energies(history(1000.0), (history(500.0), EnergyHistory(HOUR, 1200.0)), HOUR)

    assert found is not None
    assert (1200.0, 600_000.0) == (found.seconds, found.it_joules)


def test_one_that_was_to_be_read_from_the_start() -> None:
    """Without a reading of it, IT is not known at all."""
    assert measured_energies(history(1000.0), (history(500.0), EnergyHistory(HOUR)), HOUR) is None
