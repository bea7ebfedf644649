"""Logging of the daemons: one line an event, on standard error, as logfmt or JSON."""

import json
import logging
import re
import sys
from datetime import datetime, timezone
from typing import Annotated, Literal, TextIO

from msgspec import Struct, field

from perwatt_agent.configfile.kinds import one_of
from perwatt_agent.configfile.settings import Key

LEVEL = one_of("debug", "info", "warning", "error")
FORMAT = one_of("logfmt", "json")


class LogConfig(Struct, frozen=True):
    """How much is logged, and in which form."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Key("debug, info, warning or error", LEVEL)
    ] = "info"
    format: Annotated[Literal["logfmt", "json"], Key("logfmt or json", FORMAT)] = "logfmt"


class LogOptions(Struct, frozen=True):
    """What flags and variables, but no file, say about logging."""

    log: LogConfig = field(default_factory=LogConfig)


def set_up_logging(config: LogConfig, stream: TextIO | None = None) -> None:
    """Send every logger's events to `stream`, standard error unless told otherwise."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else LogfmtFormatter())
    logging.basicConfig(level=config.level.upper(), handlers=[handler], force=True)


class LogfmtFormatter(logging.Formatter):
    """`ts=... level=info logger=... msg="..."`, whatever the message holds on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_quoted(value)}" for key, value in _facts(self, record).items())


class JsonFormatter(logging.Formatter):
    """The same facts as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_facts(self, record), ensure_ascii=False)


def _facts(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    instant = datetime.fromtimestamp(record.created, timezone.utc)
    facts = {
        "ts": instant.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
    }
    if record.exc_info:
        facts["exception"] = formatter.formatException(record.exc_info)
    return facts


def _quoted(value: str) -> str:
    plain = re.fullmatch(r"[^\s\"=\x00-\x1f]+", value)
    return value if plain else json.dumps(value, ensure_ascii=False)
