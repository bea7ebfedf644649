"""Hourly carbon intensity: the values of the file, and the times without a value."""

from pathlib import Path

import pytest

from perwatt_agent.meters.meter import MeterFailure
from perwatt_aggregator.facility.carbon_hours import Hours, read_hours
from perwatt_aggregator.facility.rates import HoursFile

TEN = 1_795_255_200.0  # 2026-11-21T10:00:00Z
HOUR = 3600.0
FILE = "time,grams_co2e_per_kwh,note\n2026-11-21T10:00:00Z,400,\n2026-11-21T12:00:00+01:00,200,windy\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "carbon.csv"
    path.write_text(text)
    return path


def test_hours_with_their_zones(tmp_path: Path) -> None:
    """Each row is valid for its hour, in any time zone."""
    hours = read_hours(written(tmp_path, FILE))

    assert (400.0, 200.0) == (hours.mean(TEN, TEN + 60.0), hours.mean(TEN + HOUR, TEN + HOUR + 60.0))


def test_a_window_over_the_hour_is_weighed_by_time(tmp_path: Path) -> None:
    """One minute of the one hour and three of the next."""
    hours = read_hours(written(tmp_path, FILE))

    assert 250.0 == pytest.approx(hours.mean(TEN + HOUR - 60.0, TEN + HOUR + 180.0))


@pytest.mark.parametrize("start", [-60.0, 2 * HOUR, 2 * HOUR - 30.0], ids=["before", "after", "half after"])
def test_what_the_file_does_not_reach_is_not_known(tmp_path: Path, start: float) -> None:
    """The last hour is no intensity of the hours that follow it."""
    hours = read_hours(written(tmp_path, FILE))

    assert hours.mean(TEN + start, TEN + start + 60.0) is None


def test_shorter_rows_and_gaps() -> None:
    """A row holds until the next one, and for an hour at most."""
    hours = Hours({TEN: 100.0, TEN + 1800.0: 300.0, TEN + 3 * HOUR: 500.0})

    assert 200.0 == pytest.approx(hours.mean(TEN, TEN + HOUR))
    assert hours.mean(TEN + 2 * HOUR, TEN + 2 * HOUR + 60.0) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("when,grams\n2026-11-21T10:00:00Z,400\n", ":2: expected the columns time and grams_co2e_per_kwh"),
        ("time,grams_co2e_per_kwh\n2026-11-21T10:00:00,400\n", ":2: the time .* has no zone"),
        ("time,grams_co2e_per_kwh\nyesterday,400\n", ":2: expected a number, not 'yesterday'"),
        ("time,grams_co2e_per_kwh\nnan,400\n", ":2: 'nan' is not a time"),
        ("time,grams_co2e_per_kwh\n1795255200,-4\n", ":2: -4 g per kilowatt-hour is not plausible"),
        ("time,grams_co2e_per_kwh\n1795255200,400000\n", ":2: 400000 g per kilowatt-hour is not plausible"),
        ("time,grams_co2e_per_kwh\n1795255200\n", ":2: expected a number, not None"),
    ],
)
def test_garbage_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    """The error for a bad file has its line and the reason."""
    with pytest.raises(MeterFailure, match=says):
        read_hours(written(tmp_path, text))


async def test_a_file_that_is_written_anew(tmp_path: Path) -> None:
    """What is new counts from the next reading on, a line that is still being written does not."""
    path = written(tmp_path, FILE)
    hours = HoursFile(path)
    await hours.read()
    path.write_text(FILE + "2026-11-21T12:00:00Z,600,\n2026-11-21T13:00:00Z,7")
    await hours.read()

    assert 600.0 == hours.mean(TEN + 2 * HOUR, TEN + 2 * HOUR + 60.0)
    assert hours.mean(TEN + 3 * HOUR, TEN + 3 * HOUR + 60.0) is None


async def test_a_file_that_turns_to_garbage_leaves_what_was_known(tmp_path: Path) -> None:
    """The failure is reported, and the hours that were read stay valid."""
    path = written(tmp_path, FILE)
    hours = HoursFile(path)
    await hours.read()
    path.write_text(FILE + "garbage\n")
    with pytest.raises(MeterFailure):
        await hours.read()

    assert 400.0 == hours.mean(TEN, TEN + 60.0)
    path.unlink()
    with pytest.raises(MeterFailure, match="No such file"):
        await hours.read()
