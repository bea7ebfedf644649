"""PromQL expressions for raw samples; every value that comes from outside is escaped."""

import re
from collections.abc import Iterable

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\x00"})


def quoted(value: str) -> str:
    """*value* as a string of PromQL."""
    return f'"{value.translate(_ESCAPES)}"'


def one_of(label: str, values: Iterable[str]) -> str:
    """The matcher of series whose *label* is one of *values*, literally."""
    pattern = "|".join(_SPECIAL.sub(r"\\\g<0>", value) for value in sorted(values))
    return f"{label}=~{quoted(pattern)}"


def raw(selector: str, matchers: Iterable[str], seconds: float) -> str:
    """
    The raw samples of the last *seconds* of the series that *selector*, as configured, and *matchers* select.

    By an instant query, every engine answers it with samples as they were scraped.
    """
    configured = selector.strip()[1:-1].strip().rstrip(",")
    inside = ",".join((*matchers, *((configured,) if configured else ())))
    return f"{{{inside}}}[{max(1, round(seconds * 1000.0))}ms]"
