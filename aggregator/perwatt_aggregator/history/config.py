"""Configuration of the history: where it is kept, and for how long. The annotations are its reference."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Struct, field

from perwatt_agent.configfile.settings import Key
from perwatt_agent.configfile.value_kinds import PATH, Kind

_DAY_SECONDS = 86400.0
_UNIT_SECONDS = {"m": 60.0, "h": 3600.0, "d": _DAY_SECONDS, "y": 365.0 * _DAY_SECONDS}
_UNIT_BYTES = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MAX_RETENTION_SECONDS = 20.0 * _UNIT_SECONDS["y"]
MIN_RETENTION_SECONDS = 3600.0
MIN_BYTES = 16 * 2**20

RESOLUTIONS: Mapping[str, int] = {"raw": 15, "1m": 60, "15m": 900}
"""The seconds of a tick by the name of its resolution; each is a multiple of the one before."""
DEFAULT_RETENTION: Mapping[str, float] = {
    "raw": _DAY_SECONDS,
    "1m": 30.0 * _DAY_SECONDS,
    "15m": 2.0 * _UNIT_SECONDS["y"],
}


def _read_retention(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdy])", text)
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
    if not MIN_RETENTION_SECONDS <= seconds <= MAX_RETENTION_SECONDS:
        raise ValueError("a duration from 1h to 20y with its unit: m, h, d or y, such as 30d")
    return seconds


def _show_retention(seconds: float) -> str:
    unit = max(
        (one for one in _UNIT_SECONDS if seconds % _UNIT_SECONDS[one] == 0), key=_UNIT_SECONDS.__getitem__
    )
    return f"{seconds / _UNIT_SECONDS[unit]:g}{unit}"


def _read_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MGT]iB)", text)
    size = round(float(match[1]) * _UNIT_BYTES[match[2]]) if match else 0
    if size < MIN_BYTES:
        raise ValueError("a size of at least 16MiB with its unit: MiB, GiB or TiB, such as 10GiB")
    return size


def _show_bytes(size: int) -> str:
    unit = max((one for one in _UNIT_BYTES if size % _UNIT_BYTES[one] == 0), key=_UNIT_BYTES.__getitem__)
    return f"{size // _UNIT_BYTES[unit]}{unit}"


class HistoryConfig(Struct, frozen=True):
    """The history on disk. Without a path there is none."""

    path: Annotated[
        Path | None, Key("file of the history (SQLite); default: none, in `perwatt up` in `data_dir`", PATH)
    ] = None
    retention: Annotated[
        dict[str, float],
        Key(
            "how long to keep each resolution: `raw` (15 s; 1d by default), `1m` (30d), `15m` (2y)",
            Kind(_read_retention, _show_retention),
            "history-retention",
        ),
    ] = field(default_factory=dict)
    max_bytes: Annotated[
        int, Key("size of the file from which on the oldest is deleted", Kind(_read_bytes, _show_bytes))
    ] = 10 * 2**30

    @property
    def retention_seconds(self) -> dict[int, float]:
        """How long to keep ticks, by their seconds."""
        return {
            seconds: self.retention.get(name, DEFAULT_RETENTION[name])
            for name, seconds in RESOLUTIONS.items()
        }


def check_history(config: HistoryConfig) -> Iterator[tuple[str, str]]:
    """Errors between keys."""
    for name in config.retention:
        if name not in RESOLUTIONS:
            yield "history.retention", f"expected the resolutions {', '.join(RESOLUTIONS)}, not {name!r}"
