"""Load of a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt.simulate.load import DAY_LEVELS, DayLoad

DAY = 86_400.0
TIMES = st.floats(1.8e9, 1.8e9 + 10 * DAY)


def load(day_seconds: float = DAY) -> DayLoad:
    return DayLoad(DAY_LEVELS, day_seconds, 0.25)


@given(TIMES, TIMES, TIMES)
def test_integrals_add_up(first: float, second: float, third: float) -> None:
    """The integral over a whole is that over its parts."""
    early, middle, late = sorted((first, second, third))
    one = load()

    whole = [b - a for a, b in zip(one.integral(early), one.integral(late), strict=True)]
    parts = [
        (b - a) + (c - b)
        for a, b, c in zip(one.integral(early), one.integral(middle), one.integral(late), strict=True)
    ]

    assert pytest.approx(whole, abs=1e-3) == parts


@given(TIMES)
def test_integral_is_that_of_the_level(unix: float) -> None:
    """Over a second the integral is the level in its middle."""
    one = load()

    grown = [b - a for a, b in zip(one.integral(unix), one.integral(unix + 1.0), strict=True)]

    assert pytest.approx(one.at(unix + 0.5), abs=1e-4) == tuple(grown)


def test_each_day_is_the_same() -> None:
    """A day later the level is the same, and the integral has grown by that of a day."""
    one = load(1_440.0)

    assert pytest.approx(one.at(1.8e9 + 100.0)) == one.at(1.8e9 + 100.0 + 1_440.0)
    assert pytest.approx(one.integral(1.8e9 + 1_440.0)[0] - one.integral(1.8e9)[0]) == (
        one.integral(1.8e9 + 3_000.0)[0] - one.integral(1.8e9 + 1_560.0)[0]
    )


def test_level_of_an_hour() -> None:
    """At a full hour the level is that of the table, and power is above it."""
    level = DayLoad(DAY_LEVELS, DAY).at(3 * 3_600.0)

    assert DAY_LEVELS[3] == pytest.approx(level.throughput)
    assert level.power > level.throughput
