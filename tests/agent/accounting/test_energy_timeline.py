"""A timeline has a GPU's energy at any instant of its recent past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.accounting.energy_timeline import EnergyTimeline, TimelinePoint, Used


def timeline(*points: tuple[float, float], busy: bool = False) -> EnergyTimeline:
    made = EnergyTimeline()
    used = 0.0
    for t, joules in points:
        made.add(t, joules, t - 100.0, busy=busy, shares={"a": joules - used})
        used = joules
    return made


def test_between_and_outside() -> None:
    """Between points it is linear; before the first and after the last it stands still."""
    known = timeline((100.0, 0.0), (101.0, 300.0), (103.0, 500.0))

    assert [0.0, 150.0, 300.0, 400.0, 500.0] == [
        known.at(t).accepted_joules for t in (50.0, 100.5, 101.0, 102.0, 999.0)
    ]
    assert [0.0, 0.5, 1.0, 2.0, 3.0] == [
        known.at(t).covered_seconds for t in (50.0, 100.5, 101.0, 102.0, 999.0)
    ]


def test_busy_and_shares() -> None:
    """A stretch's joules are busy as a whole or not at all, and shares add up while they are held."""
    known = timeline((100.0, 0.0))
    known.add(101.0, 300.0, 1.0, busy=True, shares={"a": 100.0, "b": 200.0})
    known.add(102.0, 900.0, 2.0, busy=False, shares={"b": 500.0, "c": 60.0})
    known.add(103.0, 950.0, 3.0, busy=True, shares={"a": 1.0})

    assert TimelinePoint(103.0, 950.0, 3.0, busy_joules=350.0, shares={"a": 1.0}) == known.last
    assert Used(650.0, 2.0, 50.0 / 650.0) == known.used(101.0, 103.0)
    assert Used(600.0, 1.5, 150.0 / 750.0) == known.used(100.5, 102.0, "b")


@pytest.mark.parametrize("t", [101.0, 100.5])
def test_not_later(t: float) -> None:
    """What is not later than the last point adds none; its joules come with the next."""
    known = timeline((100.0, 0.0), (101.0, 300.0), (t, 400.0), (102.0, 600.0))

    assert 300.0 == known.at(101.0).accepted_joules
    assert 600.0 == known.at(102.0).accepted_joules


@given(st.lists(st.tuples(st.floats(0.01, 10.0), st.floats(0.0, 1e4)), min_size=1), st.floats(0.0, 1.0))
def test_forget(steps: list[tuple[float, float]], where: float) -> None:
    """What is forgotten changes no answer from the given instant on."""
    t, joules, points = 100.0, 0.0, [(100.0, 0.0)]
    for seconds, used in steps:
        t, joules = t + seconds, joules + used
        points.append((t, joules))
    whole, short = timeline(*points), timeline(*points)
    before = 100.0 + where * (t - 100.0)

    short.forget(before)

    assert short.start <= before
    for instant in (before, (before + t) / 2, t):
        assert whole.at(instant) == short.at(instant)
