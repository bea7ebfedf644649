"""Numbers and texts in /sys, and the failures of reading them."""

import errno
from pathlib import Path

from perwatt_agent.meters.meter import MeterFailure


def read_word(path: Path) -> str:
    """Return the content of a file without surrounding white space. Raises MeterFailure."""
    try:
        return path.read_text().strip()
    except PermissionError as error:
        raise MeterFailure("permission_denied", f"{path}: {error.strerror}") from None
    except FileNotFoundError:
        raise MeterFailure("absent", f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise MeterFailure("malformed", f"{path} is not a text file") from None
    except OSError as error:
        # ENODATA and similar errors mean that the hardware does not answer now.
        name = errno.errorcode.get(error.errno or 0, "")
        raise MeterFailure("unreachable", f"{path}: {error.strerror} ({name})") from None


def read_word_or_none(path: Path) -> str | None:
    """Return the content of a file, or None if it cannot be read."""
    try:
        return read_word(path)
    except MeterFailure:
        return None


def read_micro(path: Path) -> float:
    """Return a whole number of millionths in base units: microwatts in watts. Raises MeterFailure."""
    word = read_word(path)
    try:
        return int(word) / 1e6
    except (ValueError, OverflowError):
        raise MeterFailure("malformed", f"{path}: expected a whole number, not {word[:40]!r}") from None


def try_micro(path: Path) -> tuple[float | None, MeterFailure | None]:
    """Return the result of `read_micro`, or its failure."""
    try:
        return read_micro(path), None
    except MeterFailure as failure:
        return None, failure


def with_fix(failure: MeterFailure, not_permitted_fix: str) -> MeterFailure:
    """Return the same failure; for a missing permission, the message includes how to grant it."""
    cure = f"; {not_permitted_fix}" if failure.reason == "permission_denied" else ""
    return MeterFailure(failure.reason, f"{failure}{cure}")
