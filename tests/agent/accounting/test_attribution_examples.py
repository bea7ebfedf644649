"""Examples of attribution that other tools publish, computed by perwatt."""

import pytest

from perwatt_agent.accounting.split import Holder, split


class TestKepler:
    """Time-slicing: 40 W above idle, of which a process with a quarter of the SM time has 10 W."""

    def test_a_quarter_of_the_active_power(self) -> None:
        """10 of 40 W for 25 of 100 parts."""
        found = split([Holder("a", 0.25), Holder("b", 0.75)])

        assert {"a": 10.0, "b": 30.0} == pytest.approx(found.divide(40.0, 0.0))

    def test_what_nobody_lists_is_not_lost(self) -> None:
        """Kepler's example gives 14.2 of 20 W to 710 ms of 1000 ms; here the rest has a name."""
        found = split([Holder("a", 0.5), Holder("b", 0.21)], others_sm_ratio=0.29)
        given = found.divide(20.0, 0.0)

        assert 14.2 == pytest.approx(sum(given.values()))
        assert 5.8 == pytest.approx(20.0 * found.others)

    def test_idle_power_is_borne_equally(self) -> None:
        """Of 60 W with 20 W of idle power, a quarter of the SM time has half of the idle power and 10 W."""
        found = split([Holder("a", 0.25), Holder("b", 0.75)])

        assert {"a": 20.0, "b": 40.0} == pytest.approx(found.divide(60.0, 20.0))
