"""Kinds of values: the form of a text, and its value in base units."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct


class Kind(Struct, frozen=True):
    """
    A kind of value. `read` converts the text from a file, a variable or a flag.

    `read` raises ValueError with the expected form. `show` writes a text that `read` accepts. If `joined` is
    set, a list in a file is read as its elements joined by it.
    """

    read: Callable[[str], Any]
    show: Callable[[Any], str] = str
    joined: str = ""


_DURATION = r"(\d+(?:\.\d+)?)(ms|s|m|h)"
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(low_seconds: float, high_seconds: float) -> Kind:
    """Kind of a duration in seconds, written with its unit, such as `250ms` or `5m`."""
    bounds = f"from {show_duration(low_seconds)} to {show_duration(high_seconds)}"

    def read(text: str) -> float:
        match = re.fullmatch(_DURATION, text)
        seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else math.nan
        if not low_seconds <= seconds <= high_seconds:
            raise ValueError(f"a duration {bounds} with its unit, such as 250ms, 1s, 5m or 1h")
        return seconds

    return Kind(read, show_duration)


def show_duration(seconds: float) -> str:
    """Return the shortest text that reads back as `seconds`."""
    unit = "ms" if seconds < 1 else "s"
    for larger in ("m", "h"):
        if seconds and seconds % _UNIT_SECONDS[larger] == 0:
            unit = larger
    return f"{round(seconds / _UNIT_SECONDS[unit], 9):.15g}{unit}"


def number(low: float, high: float = math.inf) -> Kind:
    """Kind of a finite number within bounds."""
    bounds = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f"a number {bounds}")
        return value

    return Kind(read, "{:g}".format)


def one_of(*words: str) -> Kind:
    """Kind of a word from a closed list."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(words[0] if len(words) == 1 else f"one of {', '.join(words)}")
        return text

    return Kind(read)


def matching(pattern: str, expected: str) -> Kind:
    """Kind of a text of a given form."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(expected)
        return text

    return Kind(read)


def _read_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _read_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # URLs appear in logs and answers, so they must not hold a password.
        is_valid = is_valid and parts.username is None
    except ValueError:
        is_valid = False
    if not is_valid or not text.isprintable() or " " in text:
        raise ValueError("a URL such as http://127.0.0.1:8000/metrics")
    return text


def host_and_port(address: str) -> tuple[str, int]:
    """
    Split `HOST:PORT`. An IPv6 host is in brackets; an empty host means every address.

    Raises ValueError with the expected form.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]\s/]*)):(\d{1,5})", address)
    if match is None or int(match[3]) > 65535:
        raise ValueError("HOST:PORT, such as 0.0.0.0:9836")
    return match[1] or match[2], int(match[3])


def _read_address(text: str) -> str:
    host_and_port(text)
    return text


def _read_readable_file(text: str) -> Path:
    path = Path(text)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from None


BOOLEAN = Kind(_read_boolean, lambda value: str(value).lower())
TEXT = matching(r"\S(.*\S)?", "a text that is not empty")
URL = Kind(_read_url)
ADDRESS = Kind(_read_address)
PATH = Kind(lambda text: Path(TEXT.read(text)))
READABLE_FILE = Kind(_read_readable_file)
