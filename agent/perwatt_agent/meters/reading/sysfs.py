"""Numbers and words in /sys, and how it says that it will not give them."""

import errno
from pathlib import Path

from perwatt_agent.meters.meter import MeterFailure


def read_word(path: Path) -> str:
    """What a file holds, without the white space around it. Raises MeterFailure."""
    try:
        return path.read_text().strip()
    except PermissionError as error:
        raise MeterFailure("permission_denied", f"{path}: {error.strerror}") from None
    except FileNotFoundError:
        raise MeterFailure("absent", f"{path} is not there") from None
    except UnicodeDecodeError:
        raise MeterFailure("malformed", f"{path} holds no text") from None
    except OSError as error:
        # ENODATA and their like are how a driver says that its hardware does not answer now.
        name = errno.errorcode.get(error.errno or 0, "")
        raise MeterFailure("unreachable", f"{path}: {error.strerror} ({name})") from None


def read_word_or_none(path: Path) -> str | None:
    """What a file holds, or None where it cannot be had."""
    try:
        return read_word(path)
    except MeterFailure:
        return None


def read_micro(path: Path) -> float:
    """A whole number of millionths, in base units: microwatts in watts. Raises MeterFailure."""
    word = read_word(path)
    try:
        return int(word) / 1e6
    except ValueError:
        raise MeterFailure("malformed", f"{path}: expected a whole number, not {word[:40]!r}") from None


def try_micro(path: Path) -> tuple[float | None, MeterFailure | None]:
    """What `read_micro` gives, or why it does not."""
    try:
        return read_micro(path), None
    except MeterFailure as failure:
        return None, failure


def with_cure(failure: MeterFailure, not_permitted_cure: str) -> MeterFailure:
    """The same failure; what was not permitted says how it would be."""
    cure = f"; {not_permitted_cure}" if failure.reason == "permission_denied" else ""
    return MeterFailure(failure.reason, f"{failure}{cure}")
