"""What a joule costs by the clock, on plain days and on those that are an hour short or long."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from perwatt_aggregator.facility.config import PriceConfig, TimeOfUseConfig
from perwatt_aggregator.facility.kinds import HOURS, WEEKDAYS
from perwatt_aggregator.facility.tariff import Tariff

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = TimeOfUseConfig(0.10, hours=HOURS.read("00:00-06:00"))
PEAK = TimeOfUseConfig(0.40, days=WEEKDAYS.read("mon-fri"), hours=HOURS.read("08:00-20:00"))


def per_kwh(start: datetime, end: datetime, *times: TimeOfUseConfig) -> float:
    tariff = Tariff(PriceConfig("EUR", 0.30, "Europe/Berlin", times))
    return tariff.per_kwh(start.timestamp(), end.timestamp())


def berlin(month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, second, tzinfo=BERLIN)


def test_flat() -> None:
    """Without times of use there is one price."""
    assert 0.30 == pytest.approx(per_kwh(berlin(11, 21), berlin(11, 22)))


@pytest.mark.parametrize(
    ("hour", "day", "price"),
    [(7, 20, 0.30), (8, 20, 0.40), (19, 20, 0.40), (20, 20, 0.30), (12, 21, 0.30)],
    ids=["before", "begins", "within", "ends", "saturday"],
)
def test_weekdays_and_hours(hour: int, day: int, price: float) -> None:
    """A price holds on its days, from its first minute on and up to its last."""
    start = berlin(11, day, hour)

    assert price == pytest.approx(per_kwh(start, berlin(11, day, hour, 10), PEAK))


def test_a_window_over_a_boundary_is_weighed_by_time() -> None:
    """Three minutes at one price and one and a half at the next."""
    price = per_kwh(berlin(11, 20, 7, 57), berlin(11, 20, 8, 1, 30), PEAK)

    assert (3.0 * 0.30 + 1.5 * 0.40) / 4.5 == pytest.approx(price)


@pytest.mark.parametrize(
    ("month", "day", "night_hours", "hours"),
    [(3, 29, 5, 23), (10, 25, 7, 25), (6, 15, 6, 24)],
    ids=["23 hours", "25 hours", "24 hours"],
)
def test_days_that_are_not_24_hours(month: int, day: int, night_hours: int, hours: int) -> None:
    """The night of the day on which clocks change is an hour shorter or longer, and so is the day."""
    price = per_kwh(berlin(month, day), berlin(month, day + 1), NIGHT)

    assert (night_hours * 0.10 + (hours - night_hours) * 0.30) / hours == pytest.approx(price)


def test_hours_over_midnight_belong_to_the_day_they_begin_on() -> None:
    """Friday's night reaches into Saturday, Saturday's is another."""
    friday = TimeOfUseConfig(0.10, days=WEEKDAYS.read("fri"), hours=HOURS.read("22:00-06:00"))

    prices = [
        per_kwh(berlin(11, day, hour), berlin(11, day, hour, 30), friday)
        for day, hour in ((20, 5), (20, 23), (21, 5), (21, 23))
    ]

    assert [0.30, 0.10, 0.10, 0.30] == [pytest.approx(price) for price in prices]


def test_the_first_that_applies_holds() -> None:
    """Rows are read from above."""
    assert 0.10 == pytest.approx(per_kwh(berlin(11, 20, 5), berlin(11, 20, 6), NIGHT, PEAK))


@pytest.mark.parametrize("text", ["8-20", "08:00", "08:00-08:00", "25:00-26:00", "08:60-09:00", "a:b-c:d"])
def test_hours_that_are_none(text: str) -> None:
    """What is no pair of times of day is refused."""
    with pytest.raises(ValueError, match="such as 08:00-20:00"):
        HOURS.read(text)


def test_days_and_hours_read_back() -> None:
    """What is shown reads back as the same, a week that wraps included."""
    assert {5, 6, 0} == WEEKDAYS.read("sat-mon")
    assert WEEKDAYS.read("sat-mon") == WEEKDAYS.read(WEEKDAYS.show(WEEKDAYS.read("sat-mon")))
    assert "22:00-06:00" == HOURS.show(HOURS.read("22:00-06:00"))
