"""Value kinds of a facility's configuration: currencies, time zones, days, hours and dates."""

from datetime import date, datetime, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from perwatt_agent.configfile.value_kinds import Kind, matching

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60


class HoursOfDay(NamedTuple):
    """From one minute of the day to another; if that is not later, it is on the next day."""

    start_minute: int
    end_minute: int


WHOLE_DAY = HoursOfDay(0, MINUTES_PER_DAY)
ALL_DAYS = frozenset(range(len(DAYS)))
CURRENCY = matching("[A-Z]{3}", "three letters of ISO 4217, such as USD")


def _read_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise ValueError("a time zone of this machine's tzdata, such as Europe/Berlin") from None
    return text


def _read_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    try:
        for piece in text.split(","):
            first, _, last = piece.strip().partition("-")
            start, end = DAYS.index(first), DAYS.index(last or first)
            days.update(day % 7 for day in range(start, end + 1 if start <= end else end + 8))
    except ValueError:
        raise ValueError("days such as mon-fri or sat,sun") from None
    return frozenset(days)


def _read_hours(text: str) -> HoursOfDay:
    try:
        start, end = map(_minutes, text.split("-"))
    except ValueError:
        start = end = 0
    if start == end:
        raise ValueError("hours of a day such as 08:00-20:00, or 22:00-06:00 over midnight")
    return HoursOfDay(start, end)


def _minutes(text: str) -> int:
    hour, minute = text.strip().split(":")
    minutes = int(hour) * 60 + int(minute)
    if not (len(hour) == len(minute) == 2 and 0 <= int(minute) < 60 and 0 <= minutes <= MINUTES_PER_DAY):
        raise ValueError(text)
    return minutes


def _show_hours(hours: HoursOfDay) -> str:
    return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in hours)


def _read_date(text: str) -> float:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("a date such as 2026-09-30") from None
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()


def _read_category(text: str) -> int:
    if text not in ("0", "1", "2", "3"):
        raise ValueError("a category of ISO/IEC 30134-2: 0, 1, 2 or 3")
    return int(text)


ZONE = Kind(_read_zone)
WEEKDAYS = Kind(_read_days, lambda days: ",".join(DAYS[day] for day in sorted(days)), joined=",")
HOURS = Kind(_read_hours, _show_hours)
DATE = Kind(_read_date, lambda unix: datetime.fromtimestamp(unix, timezone.utc).date().isoformat())
CATEGORY = Kind(_read_category)
