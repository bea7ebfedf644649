"""
Logging of the daemons: one line per event on standard error, as logfmt or JSON.

Of messages that repeat, all but the first few are counted: `repeated_messages`.
"""

import logging
import re
import sys
from datetime import datetime, timezone
from typing import Annotated, Literal, TextIO

from msgspec import Struct, field

from perwatt.repeated_messages import LimitedHandler
from perwatt_agent.configfile.printable import escaped_json, without_secrets
from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import one_of

LEVEL = one_of("debug", "info", "warning", "error")
FORMAT = one_of("logfmt", "json")


class LogConfig(Struct, frozen=True):
    """Level and format of the log."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Key("lowest level to log: debug, info, warning or error", LEVEL),
    ] = "info"
    format: Annotated[Literal["logfmt", "json"], Key("form of a log line: logfmt or json", FORMAT)] = "logfmt"


class LogOptions(Struct, frozen=True):
    """Settings of the log, from flags and variables; the files have none."""

    log: LogConfig = field(default_factory=LogConfig)


def set_up_logging(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send the events of every logger to *stream*, by default standard error."""
    handler = LimitedHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else LogfmtFormatter())
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)


class LogfmtFormatter(logging.Formatter):
    """Formatter for `ts=... level=info logger=... msg="..."`, always on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in _facts(self, record).items())


class JsonFormatter(logging.Formatter):
    """Formatter for the same facts as one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        return escaped_json(_facts(self, record))


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    instant = datetime.fromtimestamp(record.created, timezone.utc)
    facts = {
        "ts": instant.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": without_secrets(record.getMessage()),
    }
    if record.exc_info:
        facts["exception"] = formatter.formatException(record.exc_info)
    return facts


def _quoted(value: str) -> str:
    plain = value.isprintable() and re.fullmatch(r"[^\s\"=]+", value)
    return value if plain else escaped_json(value)
