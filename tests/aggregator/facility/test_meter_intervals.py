"""Meter intervals: no behaviour of a meter adds joules that were not used."""

from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perwatt_agent.facts.readings import MeterSample
from perwatt_agent.meters.meter import MeterFailure
from perwatt_aggregator.facility.history import EnergyHistory
from perwatt_aggregator.facility.meter_intervals import Interval, MeterIntervals

PERIOD = 10.0


def followed(samples: Iterable[MeterSample]) -> tuple[list[Interval], list[str]]:
    """What a meter's samples come to, and why some of them were refused."""
    track = MeterIntervals()
    intervals: list[Interval] = []
    refused: list[str] = []
    for sample in samples:
        try:
            intervals += track.add(sample)
        except MeterFailure as failure:
            refused.append(failure.reason)
    return intervals, refused


def counter(readings: Sequence[tuple[float, float]], wraps_at: float | None = None) -> Iterator[MeterSample]:
    """A counter read as (seconds, joules)."""
    for at, joules in readings:
        yield MeterSample("pdu", at, energy_joules=joules, energy_range_joules=wraps_at)


def power(readings: Sequence[tuple[float, float]]) -> Iterator[MeterSample]:
    """A power read as (seconds, watts)."""
    for at, watts in readings:
        yield MeterSample("pdu", at, power_watts=watts, period_seconds=PERIOD)


def counted(
    readings: Sequence[tuple[float, float]], wraps_at: float | None = None
) -> list[tuple[float, ...]]:
    """Intervals of a counter, as (start, end, joules)."""
    intervals, _ = followed(counter(readings, wraps_at))
    return [(one.start_seconds, one.end_seconds, one.joules) for one in intervals]


def integrated(readings: Sequence[tuple[float, float]]) -> float:
    """Joules of a power."""
    intervals, _ = followed(power(readings))
    return sum(one.joules for one in intervals)


class TestCounter:
    def test_two_in_turn(self) -> None:
        """The step back to the counter before a fall is no energy."""
        mine = [(10.0 * n, 1e6 + 5_000.0 * n) for n in range(12)]
        other = [(10.0 * n, 9.8e5 + 5_000.0 * n) for n in range(12)]
        found = [(other if n // 3 % 2 else mine)[n] for n in range(12)]
        intervals, refused = followed(counter(found))

        assert "implausible" in refused
        assert {5_000.0} == {one.joules for one in intervals}

    def test_no_building(self) -> None:
        """More than a gigawatt is not confirmed by any reading."""
        readings = [(10.0 * n, 4.8e10 * n) for n in range(8)]
        intervals, refused = followed(counter(readings))

        assert ([], {"implausible"}) == (intervals, set(refused))

    def test_steps(self) -> None:
        """From the first step on, each step is an interval."""
        assert [(10.0, 20.0, 1000.0), (20.0, 30.0, 1100.0)] == counted(
            [(0.0, 500.0), (10.0, 1500.0), (20.0, 2500.0), (30.0, 3600.0)]
        )

    def test_coarse_counter(self) -> None:
        """A counter of whole kilowatt-hours has no interval between its steps, and loses nothing."""
        kwh = 3.6e6
        readings = [(60.0 * minute, kwh * (minute // 6)) for minute in range(31)]
        intervals = counted(readings)

        assert 4 * kwh == sum(joules for _, _, joules in intervals)
        assert (360.0, 1800.0) == (intervals[0][0], intervals[-1][1])

    def test_wrap(self) -> None:
        """A counter that wraps at a known range goes on."""
        intervals = counted([(0.0, 0.0), (10.0, 800.0), (20.0, 100.0), (30.0, 600.0)], wraps_at=1000.0)

        assert [300.0, 500.0] == [joules for _, _, joules in intervals]

    def test_restart(self) -> None:
        """A counter that falls was reset; the energy in between is not known."""
        readings = [(0.0, 9e6), (10.0, 9.001e6), (20.0, 9.002e6), (30.0, 5.0), (40.0, 1005.0), (50.0, 2005.0)]

        assert [(10.0, 20.0, 1000.0), (40.0, 50.0, 1000.0)] == counted(readings)

    def test_leap(self) -> None:
        """A counter that leaps was replaced or misread; it is not energy, and the next step is."""
        readings = [(0.0, 0.0), (10.0, 1e3), (20.0, 2e3), (30.0, 9e9), (40.0, 9e9 + 1e3), (50.0, 9e9 + 2e3)]

        assert [1000.0, 1000.0, 1000.0] == [joules for _, _, joules in counted(readings)]
        assert ["implausible"] == followed(counter(readings))[1]

    def test_frozen(self) -> None:
        """A counter that stands still covers nothing."""
        assert [(10.0, 20.0, 100.0)] == counted(
            [(0.0, 0.0), (10.0, 100.0), (20.0, 200.0)] + [(30.0 + at, 200.0) for at in range(100)]
        )

    def test_counter_goes_before_power(self) -> None:
        """If a meter has both, its energy counter is used."""
        track = MeterIntervals()
        samples = (
            MeterSample("pdu", at, power_watts=1e6, energy_joules=100.0 * at, period_seconds=PERIOD)
            for at in (0.0, 10.0, 20.0)
        )

        assert [1000.0] == [gained.joules for sample in samples for gained in track.add(sample)]


class TestPower:
    def test_integrated(self) -> None:
        """Straight lines between readings."""
        assert 100.0 * 10 + 150.0 * 10 == integrated([(0.0, 100.0), (10.0, 100.0), (20.0, 200.0)])

    def test_gap(self) -> None:
        """What is further apart than three periods is not joined."""
        assert 1000.0 == integrated([(0.0, 100.0), (10.0, 100.0), (50.0, 100.0)])

    def test_off_by_1000_once(self) -> None:
        """A reading in another unit is left out, and the line goes on below it."""
        readings = [(0.0, 100.0), (10.0, 100_000.0), (20.0, 100.0), (30.0, 0.1), (40.0, 100.0)]

        assert 4000.0 == pytest.approx(integrated(readings))
        assert ["implausible", "implausible"] == followed(power(readings))[1]

    def test_frozen(self) -> None:
        """A power that stays the same to the last digit for an hour is none."""
        intervals, refused = followed(power([(10.0 * turn, 500.0) for turn in range(721)]))

        assert (500.0 * 3600.0, {"stale"}) == (sum(one.joules for one in intervals), set(refused))

    def test_what_leaps_and_stays_is_believed(self) -> None:
        """A building that is switched on goes on being measured."""
        assert integrated([(0.0, 10.0), (10.0, 5000.0), (20.0, 5000.0), (30.0, 5000.0)]) > 5000.0 * 10

    def test_the_same_reading_again(self) -> None:
        """A reading that is had twice counts once."""
        assert 1000.0 == integrated([(0.0, 100.0), (10.0, 100.0), (10.0, 100.0)])


@given(
    st.lists(
        st.tuples(st.floats(1.0, 60.0), st.floats(1e3, 9e3), st.sampled_from(["ok", "restart", "miss"])),
        min_size=3,
        max_size=40,
    )
)
def test_never_more_than_was_taken(steps: list[tuple[float, float, str]]) -> None:
    """Over any restarts and missed readings, what is counted was taken, in the time that it covers."""
    at = shown = 0.0
    taken: list[tuple[float, float]] = []
    readings = [(0.0, 0.0)]
    for seconds, watts, what in steps:
        at += seconds
        taken.append((at, watts * seconds))
        shown = 0.0 if what == "restart" else shown + watts * seconds
        if what != "miss":
            readings.append((at, shown))

    for start, end, joules in counted(readings):
        assert joules <= sum(one for when, one in taken if start < when <= end) * (1 + 1e-9)


def test_history_keeps_what_it_was_given() -> None:
    """Joules are spread over the slices of their time, and none is lost between them."""
    history = EnergyHistory(3600.0)
    history.add(90.0, 390.0, 3000.0)

    assert [600.0] * 4 == [history.complete_joules(slice_) for slice_ in (2, 3, 4, 5)]
    assert (None, None) == (history.complete_joules(1), history.complete_joules(6))
    assert (3000.0, 90.0, 390.0) == (history.joules_total, history.first_seconds, history.last_seconds)


def test_history_forgets() -> None:
    """A slice is reused for a later time, and then holds that time's joules alone."""
    history = EnergyHistory(900.0)
    for minute in range(100):
        history.add(60.0 * minute, 60.0 * (minute + 1), 60.0 * minute)
    history.add(20_000.0, 20_160.0, 160.0)

    assert history.complete_joules(90) is None
    assert [None, 60.0, None] == [history.complete_joules(slice_) for slice_ in (333, 334, 336)]
    assert 60.0 * sum(range(100)) + 160.0 == history.joules_total
