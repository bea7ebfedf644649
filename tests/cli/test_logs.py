"""The daemons' log: one line an event, in either form."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest

from perwatt.logs import LogConfig, set_up_logging


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    """Leave the root logger as it was found."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # `force` would close those of pytest
    yield
    root.handlers, root.level = handlers, level


def logged(config: LogConfig, message: str, *, failing: bool = False) -> list[str]:
    stream = io.StringIO()
    set_up_logging(config, stream)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("perwatt.test").warning(message, exc_info=failing)
    logging.getLogger("perwatt.test").debug("details")
    return stream.getvalue().splitlines()


def test_logfmt_is_one_line() -> None:
    """Whatever a message holds, its line is one line, and quotes are escaped."""
    (line,) = logged(LogConfig(), 'two\nlines "quoted"', failing=True)

    assert ' level=warning logger=perwatt.test msg="two\\nlines \\"quoted\\"" exception="Traceback' in line
    assert line.startswith("ts=2")


def test_plain_words_are_not_quoted() -> None:
    """Quotes stand only where they are needed."""
    (line,) = logged(LogConfig(), "started")

    assert line.endswith(" msg=started")


def test_json() -> None:
    """The same facts, as an object."""
    (line,) = logged(LogConfig(format="json"), "é=1")

    facts = json.loads(line)
    assert ("warning", "perwatt.test", "é=1") == (facts["level"], facts["logger"], facts["msg"])
    assert facts["ts"].endswith("Z")


@pytest.mark.parametrize(("expected", "level"), [(0, "error"), (1, "info"), (2, "debug")])
def test_level(expected: int, level: str) -> None:
    """Only events of the level and above are shown."""
    assert expected == len(logged(LogConfig(level=level), "message"))  # type: ignore[arg-type]  # parametrized


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_foreign_text(form: Literal["logfmt", "json"]) -> None:
    """What others are called moves no cursor, and no token of a URL is logged."""
    (line,) = logged(LogConfig(format=form), "\x1b[2J\x9b\x7f\u202e http://u:t0p@a/?token=t0p")

    assert line.isprintable()
    assert "t0p" not in line
