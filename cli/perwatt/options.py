"""Command-line flags, made from the configuration structs, and configurations made from given flags."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from perwatt.logs import LogConfig, LogOptions
from perwatt_agent.config import AgentConfig, load_agent_config
from perwatt_agent.configfile.loading import Flags, load
from perwatt_agent.configfile.settings import Setting, flag_name, variable_name, walk
from perwatt_agent.configfile.value_kinds import Kind

if TYPE_CHECKING:  # the agent's process loads nothing of the aggregator
    from perwatt_aggregator.config import AggregatorConfig

IN_UP = {"web.listen_address": "aggregator.web.listen_address", "data_dir": "aggregator.data_dir"}
"""Names in `perwatt up` of the aggregator's keys that the agent has too."""

FORMS = {
    "engine": "url=URL,workload=NAME,gpus=0+1",
    "agent": "URL",
    "label": "NAME",
    "prometheus-header": "NAME=VALUE",
    "facility-node": "PATTERN",
    "gpu-exclude": "UUID",
    "work-trusted-job": "JOB",
    "calibration": "UUID=RATIO",
    "idle-watts": "NAME=WATTS",
    "uncertainty": "SOURCE=RATIO",
    "history-retention": "RESOLUTION=DURATION",
    "meter": "kind=csv,file=FILE,unit=watts",
}
"""Form of the value of each repeatable flag."""

_NOT_IN_UP = ("sources.", "labels")  # `up` scrapes its own agent and no other


def add_file_argument(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    parser.add_argument(flag, dest=flag.lstrip("-"), type=Path, metavar="FILE", help=text)


def add_agent_flags(parser: argparse.ArgumentParser) -> None:
    _add_flags(parser, "settings of the agent", AgentConfig)


def add_aggregator_flags(parser: argparse.ArgumentParser, *, in_up: bool = False) -> None:
    from perwatt_aggregator.config import AggregatorConfig

    _add_flags(parser, "settings of the aggregator", AggregatorConfig, IN_UP if in_up else {}, in_up=in_up)


def add_log_flags(parser: argparse.ArgumentParser) -> None:
    _add_flags(parser, "settings of the log", LogOptions)


def agent_config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> AgentConfig:
    """Raises ConfigError naming every error."""
    return load_agent_config(arguments.config, environ, _flags(AgentConfig, arguments))


def aggregator_config(
    arguments: argparse.Namespace, environ: Mapping[str, str], *, in_up: bool = False
) -> "AggregatorConfig":
    """Raises ConfigError naming every error."""
    from perwatt_aggregator.config import AggregatorConfig, load_aggregator_config

    path: Path | None = getattr(arguments, "aggregator.config") if in_up else arguments.config
    renamed = IN_UP if in_up else {}
    return load_aggregator_config(path, environ, _flags(AggregatorConfig, arguments, renamed), renamed)


def log_config(arguments: argparse.Namespace, environ: Mapping[str, str]) -> LogConfig:
    """Raises ConfigError naming every error."""
    return load(LogOptions, None, environ, _flags(LogOptions, arguments)).log


def argument(kind: Kind) -> Any:
    """Type of a command-line argument that reads a kind of configuration value."""

    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected {error}, not {text!r}") from None

    return read


def instant(text: str) -> float:
    """Unix seconds from a number or an RFC 3339 time: the type of an argparse argument."""
    try:
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else _rfc3339(text)
    except ValueError:
        expected = "an RFC 3339 time such as 2026-11-21T10:00:00Z, or Unix seconds"
        raise argparse.ArgumentTypeError(f"expected {expected}, not {text!r}") from None


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole number from *low* to *high*: the type of an argparse argument."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return read


def words(known: Sequence[str]) -> Callable[[str], str]:
    """Comma-separated list of known words: the type of an argparse argument."""

    def read(text: str) -> str:
        if not text or set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"expected one or several of {','.join(known)}, not {text!r}")
        return text

    return read


def _rfc3339(text: str) -> float:
    # Python 3.10 reads neither `Z` nor a fraction of other than three or six digits.
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text)
    if match is None:
        raise ValueError(text)
    date, time, fraction, offset = match.groups()
    offset = "+00:00" if offset in "Zz" else offset
    return datetime.fromisoformat(f"{date}T{time}{offset}").timestamp() + float(f"0{fraction or ''}")


def default_text(setting: Setting) -> str:
    """The default of a key as a user would write it; empty where there is none."""
    if setting.required or setting.default is None or not setting.kind:
        return ""
    if setting.shape == "scalar":
        return setting.kind.show(setting.default)
    if setting.shorthand:
        return ", ".join(setting.kind.show(getattr(one, setting.shorthand)) for one in setting.default)
    return ", ".join(setting.kind.show(value) for value in setting.default)


def _add_flags(
    parser: argparse.ArgumentParser,
    title: str,
    config: type[Struct],
    renamed: Mapping[str, str] | None = None,
    *,
    in_up: bool = False,
) -> None:
    group = parser.add_argument_group(title)
    for path, setting in walk(config):
        if in_up and path.startswith(_NOT_IN_UP):
            continue
        outer = (renamed or {}).get(path, path)
        default = f", default: {value}" if (value := default_text(setting)) else ""
        if setting.shape == "scalar":
            text = f"{setting.help} [{variable_name(outer)}{default}]"
            group.add_argument(flag_name(outer), dest=outer, metavar="VALUE", help=_plain(text))
        elif setting.flag:
            text = f"{setting.help} [repeatable{default}]"
            form = FORMS[setting.flag]
            group.add_argument(
                f"--{setting.flag}", dest=outer, metavar=form, action="append", help=_plain(text)
            )


def _plain(text: str) -> str:
    return text.replace("`", "").replace("%", "%%")


def _flags(
    config: type[Struct], arguments: argparse.Namespace, renamed: Mapping[str, str] | None = None
) -> Flags:
    return {path: getattr(arguments, (renamed or {}).get(path, path), None) for path, _ in walk(config)}
