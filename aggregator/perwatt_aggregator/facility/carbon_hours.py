"""Hourly carbon intensity, from a file of the grid operator or of a forecast."""

import csv
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.quantity import number, unix_seconds
from perwatt_aggregator.validity.thresholds import MAX_GRAMS_PER_KWH, MIN_COVERAGE_RATIO

HOUR_SECONDS = 3600.0
TIME_COLUMN, VALUE_COLUMN = "time", "grams_co2e_per_kwh"
MAX_FILE_BYTES = 16 * 1024 * 1024


class Hours:
    """Intensities by start time; each is valid for an hour, or until the next one starts."""

    def __init__(self, rows: dict[float, float]) -> None:
        self._starts = sorted(rows)
        self._grams_per_kwh = [rows[start] for start in self._starts]

    def mean(self, start_unix: float, end_unix: float) -> float | None:
        """Mean grams per kilowatt-hour over a window; None if intensities cover less than 95 % of it."""
        if end_unix <= start_unix:
            start_unix, end_unix = end_unix, end_unix + 1.0
        known = grams = 0.0
        for start, end, value in self._between(start_unix, end_unix):
            known += end - start
            grams += (end - start) * value
        return grams / known if known >= MIN_COVERAGE_RATIO * (end_unix - start_unix) else None

    def _between(self, start_unix: float, end_unix: float) -> Iterator[tuple[float, float, float]]:
        for index in range(max(0, bisect_right(self._starts, start_unix) - 1), len(self._starts)):
            start = self._starts[index]
            if start >= end_unix:
                return
            until = self._starts[index + 1] if index + 1 < len(self._starts) else start + HOUR_SECONDS
            low, high = max(start, start_unix), min(until, start + HOUR_SECONDS, end_unix)
            if low < high:
                yield low, high, self._grams_per_kwh[index]


def read_hours(path: Path) -> Hours:
    """
    Read a CSV file whose first line has the columns `time` and `grams_co2e_per_kwh`.

    Times are Unix seconds, or ISO 8601 with a zone. A last line without a line end is left out, because it
    may still be written. Raises MeterFailure.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = "permission_denied" if isinstance(error, PermissionError) else "absent"
        raise MeterFailure(reason, f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MeterFailure("malformed", f"{path}: expected CSV in UTF-8") from None
    if len(text) > MAX_FILE_BYTES:
        raise MeterFailure("malformed", f"{path}: more than {MAX_FILE_BYTES} characters; keep a year at most")
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    try:
        return Hours(
            {_time(row.get(TIME_COLUMN)): plausible_grams(number(row.get(VALUE_COLUMN))) for row in rows}
        )
    except csv.Error as error:
        raise MeterFailure("malformed", f"{path}:{rows.line_num}: {error}") from None
    except MeterFailure as failure:
        raise MeterFailure(failure.reason, f"{path}:{rows.line_num}: {failure}") from None


def _time(text: str | None) -> float:
    if text is None:
        raise MeterFailure("malformed", f"expected the columns {TIME_COLUMN} and {VALUE_COLUMN}")
    return unix_seconds(text.strip())


def plausible_grams(grams_per_kwh: float) -> float:
    """*grams_per_kwh*, if a grid can have emitted it. Raises MeterFailure otherwise."""
    if not 0.0 <= grams_per_kwh <= MAX_GRAMS_PER_KWH:
        raise MeterFailure(
            "implausible", f"{grams_per_kwh:g} g per kilowatt-hour is not plausible; check the unit"
        )
    return grams_per_kwh
