"""Integration of power readings, as means or instants; gaps add nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.accounts.readings import Lines

from perwatt_agent.accounting.integrator import NOTHING, Increment, Integrator

RAMP = Lines((100.0, 100.0), (110.0, 700.0))


def ramp_joules(t: float) -> float:
    """The exact integral of RAMP from 90 s to *t*."""
    if t <= 100.0:
        return 100.0 * (t - 90.0)
    if t <= 110.0:
        return 1_000.0 + (100.0 + RAMP(t)) / 2 * (t - 100.0)
    return 5_000.0 + 700.0 * (t - 110.0)


def test_first_reading() -> None:
    """One reading covers nothing."""
    assert NOTHING == Integrator(3.0).add(100.0, 500.0, is_mean=True)


def test_mean() -> None:
    """A mean counts for the whole interval since the reading before, whatever that said."""
    integrator = Integrator(3.0)
    integrator.add(100.0, 100.0, is_mean=True)

    assert Increment(1_000.0, 2.0) == integrator.add(102.0, 500.0, is_mean=True)


def test_instantaneous() -> None:
    """Instantaneous values are joined by straight lines."""
    integrator = Integrator(3.0)
    integrator.add(100.0, 100.0, is_mean=False)

    assert Increment(600.0, 2.0) == integrator.add(102.0, 500.0, is_mean=False)


@pytest.mark.parametrize("is_mean", [True, False])
def test_gap(is_mean: bool) -> None:
    """Up to the longest gap is bridged; more adds and covers nothing, and is a new start."""
    integrator = Integrator(3.0)
    integrator.add(100.0, 100.0, is_mean=is_mean)

    assert Increment(300.0, 3.0) == integrator.add(103.0, 100.0, is_mean=is_mean)
    assert NOTHING == integrator.add(106.5, 100.0, is_mean=is_mean)
    assert Increment(100.0, 1.0) == integrator.add(107.5, 100.0, is_mean=is_mean)


@pytest.mark.parametrize("t", [100.0, 99.0])
def test_time_that_does_not_grow(t: float) -> None:
    """A reading that is not later than the last covers nothing."""
    integrator = Integrator(3.0)
    integrator.add(100.0, 100.0, is_mean=True)

    assert NOTHING == integrator.add(t, 100.0, is_mean=True)


@given(phase=st.floats(0.0, 0.999))
def test_ramp_of_ten_seconds(phase: float) -> None:
    """Over a ramp of 10 s, read once a second at any phase, both kinds stay within 1 % of the truth."""
    means, instants = Integrator(3.0), Integrator(3.0)
    mean_joules = instant_joules = 0.0
    times = [95.0 + phase + second for second in range(20)]
    for t in times:
        mean_joules += means.add(t, ramp_joules(t) - ramp_joules(t - 1.0), is_mean=True).joules
        instant_joules += instants.add(t, RAMP(t), is_mean=False).joules
    exact_joules = ramp_joules(times[-1]) - ramp_joules(times[0])

    assert pytest.approx(exact_joules, rel=0.01) == mean_joules
    assert pytest.approx(exact_joules, rel=0.01) == instant_joules


@given(st.lists(st.tuples(st.floats(0.01, 10.0), st.floats(0.0, 1_000.0)), min_size=2))
def test_bounds(steps: list[tuple[float, float]]) -> None:
    """No more is ever integrated than the highest reading over the seconds that are said to be covered."""
    integrator = Integrator(3.0)
    t = 0.0
    max_watts = max(watts for _, watts in steps)
    for seconds, watts in steps:
        t += seconds
        increment = integrator.add(t, watts, is_mean=False)

        assert 0.0 <= increment.joules <= max_watts * increment.seconds + 1e-6
        assert increment.seconds in (0.0, pytest.approx(seconds))
