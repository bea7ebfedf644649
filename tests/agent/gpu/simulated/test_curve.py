"""Curves, their integrals and what lags behind them, against sums in small steps."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.gpu.simulated.curve import Curve, Lag

KNOTS = (3.0, 5.0, 0.0, 0.0, 8.0, 1.0, 4.0)


def knot(index: int) -> float:
    return KNOTS[index % len(KNOTS)]


class TestCurve:
    def test_at(self) -> None:
        """A curve runs straight between its knots, and is nothing before it began."""
        curve = Curve(knot, 10.0)

        assert [0.0, 3.0, 4.0, 5.0, 2.5, 0.0] == [curve.at(t) for t in (-1.0, 0.0, 5.0, 10.0, 15.0, 20.0)]

    @pytest.mark.slow
    @given(st.floats(0, 500))
    def test_integral(self, seconds: float) -> None:
        """The integral is that of the curve, summed by the midpoint rule in 1,000 steps a segment."""
        curve = Curve(knot, 10.0)
        step = 0.01
        whole = int(seconds / step)
        summed = math.fsum(curve.at((index + 0.5) * step) for index in range(whole)) * step
        rest = seconds - whole * step

        assert summed + curve.at(seconds - rest / 2) * rest == pytest.approx(
            curve.integral(seconds), rel=1e-9, abs=1e-3
        )

    @given(st.lists(st.floats(0, 2000), max_size=20))
    def test_order_does_not_matter(self, times: list[float]) -> None:
        """Equal times give equal integrals to the last bit, whatever was asked before, back or forth."""
        used = Curve(knot, 10.0)

        assert [Curve(knot, 10.0).integral(t) for t in times] == [used.integral(t) for t in times]

    def test_mean(self) -> None:
        """A mean looks back as far as it is told, or to the beginning."""
        curve = Curve(knot, 10.0)

        assert [3.0, 3.5, 4.0, 4.5] == [curve.mean(t, 5.0) for t in (0.0, 5.0, 7.5, 10.0)]


class TestLag:
    def test_solution(self) -> None:
        """The lag solves its equation: it agrees with small explicit steps."""
        curve, lag, value, step = Curve(knot, 10.0), Lag(knot, 10.0, 20.0), knot(0), 0.001
        for index in range(60_000):
            value += (curve.at((index + 0.5) * step) - value) / 20.0 * step

        assert value == pytest.approx(lag.at(60.0), rel=1e-4)

    def test_order_does_not_matter(self) -> None:
        """Looking back gives what it gave before."""
        lag = Lag(knot, 10.0, 20.0)
        first = lag.at(25.0)
        lag.at(900.0)

        assert first == lag.at(25.0)
