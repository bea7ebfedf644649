"""What no board can have is not read."""

import math

import pytest
from support.accounts.readings import reading

from perwatt_agent.accounting.gpu_bounds import within_bounds


@pytest.mark.parametrize("joules", [math.nan, math.inf, -math.inf, -1.0])
def test_energy(joules: float) -> None:
    """A counter that is no number, or negative, is not there; power goes on."""
    assert reading(1.0, None, 300.0) == within_bounds(reading(1.0, joules, 300.0), 700.0)


@pytest.mark.parametrize("watts", [math.nan, math.inf, -1.0, 2_000.1, 1e308])
def test_power(watts: float) -> None:
    """A power that is no number, negative, or beyond any board is not there; the counter goes on."""
    assert reading(1.0, 500.0, None) == within_bounds(reading(1.0, 500.0, watts), 700.0)


@pytest.mark.parametrize(("watts", "limit"), [(0.0, None), (2_000.0, None), (4_000.0, 2_700.0)])
def test_plausible(watts: float, limit: float | None) -> None:
    """What a board can have stays, also that of one beyond all others whose limit is known."""
    assert reading(1.0, 0.0, watts) == within_bounds(reading(1.0, 0.0, watts), limit)
