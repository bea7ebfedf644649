"""Windows and instants in answers: RFC 3339 in UTC."""

from collections.abc import Iterable
from datetime import datetime, timezone

from perwatt_aggregator.schema.common import Window


def mean_window(spans: Iterable[tuple[float, float, float]]) -> Window | None:
    """The mean of several windows, each from its start to its end, with its weight."""
    read = [span for span in spans if span[1] > 0.0]
    if not read:
        return None
    weights = [weight for *_, weight in read]
    if not sum(weights):
        weights = [1.0] * len(read)
    total = sum(weights)
    start = sum(weight * start for weight, (start, _, _) in zip(weights, read, strict=True)) / total
    end = sum(weight * end for weight, (_, end, _) in zip(weights, read, strict=True)) / total
    return window(start, end)


def window(start_unix: float, end_unix: float) -> Window:
    return Window(instant(start_unix), instant(end_unix), end_unix - start_unix)


def instant(unix_seconds: float) -> str:
    """An instant as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(unix_seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
