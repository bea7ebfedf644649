"""
Recording file: a header, a node's readings as JSON lines, and an end line with their number.

A file that is truncated, damaged or of another format is refused as a whole, before it is used. A CSV file
with columns `t_unix_s` and `watts` is a recording of a node meter.
"""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import msgspec

from perwatt_agent.facts.gpu import GpuInfo
from perwatt_agent.facts.readings import MeterSample, Readings
from perwatt_agent.facts.snapshot import BackendStatus

FORMAT = "perwatt-recording"
VERSION = 1


class RecordingError(Exception):
    """The file is not a complete recording; the message says why, in one line."""


class Header(msgspec.Struct, frozen=True, tag_field="line", tag="header"):
    """The first line: what was recorded, where, and how often."""

    format: str
    version: int
    node: str
    interval_seconds: float
    backend: str
    driver_version: str = ""
    gpus: tuple[GpuInfo, ...] = ()


class _Sweep(msgspec.Struct, frozen=True, tag_field="line", tag="sweep"):
    readings: Readings


class _End(msgspec.Struct, frozen=True, tag_field="line", tag="end"):
    sweeps: int


_Line = Header | _Sweep | _End


class RecordingWriter:
    """
    Writes one recording. The header is written with the first readings, when the GPUs are known. `close`
    writes the end line, without which the file is refused.
    """

    def __init__(self, file: BinaryIO, node: str, interval_seconds: float) -> None:
        self._file = file
        self._node = node
        self._interval_seconds = interval_seconds
        self._encoder = msgspec.json.Encoder()
        self._known: tuple[GpuInfo, ...] | None = None
        self.cycles = 0

    def write(self, readings: Readings) -> None:
        if self._known is None:
            self._write_header(readings)
        # The known GPUs are written when they change; the health of collectors is not a reading.
        known = () if readings.known == self._known else readings.known
        self._known = readings.known
        self._line(_Sweep(msgspec.structs.replace(readings, known=known, collectors=())))
        self.cycles += 1

    def close(self) -> None:
        self._line(_End(self.cycles))
        self._file.flush()

    def _write_header(self, readings: Readings) -> None:
        backend = readings.backend
        self._line(
            Header(
                FORMAT,
                VERSION,
                self._node,
                self._interval_seconds,
                backend.name,
                backend.driver_version,
                readings.known,
            )
        )

    def _line(self, line: _Line) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")


class Recording:
    """A complete recording on disk: its header and its readings, which can be read repeatedly."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_csv = path.suffix.lower() == ".csv"
        self.header = _csv_header(path) if self._is_csv else self._check()

    def readings(self) -> Iterator[Readings]:
        """The readings in order, with `known` filled in."""
        return _csv_readings(self._path) if self._is_csv else self._json_readings()

    def _check(self) -> Header:
        """Check all lines once: a recording is used as a whole or not at all."""
        header: Header | None = None
        known: tuple[GpuInfo, ...] = ()
        sweeps = 0
        ended = False
        for number, line in self._lines():
            if ended:
                raise RecordingError(f"{self._path}:{number}: unexpected line after the end line")
            if (header is None) != isinstance(line, Header):
                raise RecordingError(
                    f"{self._path}:{number}: not a perwatt recording: the header must come first"
                )
            if isinstance(line, Header):
                header = _accepted(line, self._path)
                known = header.gpus
            elif isinstance(line, _Sweep):
                sweeps += 1
                known = line.readings.known or known
                if {info.uuid for info in known} != {gpu.uuid for gpu in line.readings.gpus}:
                    raise RecordingError(f"{self._path}:{number}: the readings do not match the known GPUs")
            else:
                ended = True
                if line.sweeps != sweeps:
                    raise RecordingError(
                        f"{self._path}: {line.sweeps} cycles were written, the file has {sweeps}"
                    )
        if header is None:
            raise RecordingError(f"{self._path}: is empty")
        if not ended:
            raise RecordingError(f"{self._path}: is truncated: the end line is missing after {sweeps} cycles")
        return header

    def _lines(self) -> Iterator[tuple[int, _Line]]:
        decoder = msgspec.json.Decoder(_Line)
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    try:
                        yield number, decoder.decode(line)
                    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                        reason = " ".join(str(error).split())
                        message = f"{self._path}:{number}: not a line of a perwatt recording: {reason}"
                        raise RecordingError(message) from None
        except OSError as error:
            raise RecordingError(f"{self._path}: {error.strerror}") from None

    def _json_readings(self) -> Iterator[Readings]:
        known: tuple[GpuInfo, ...] = self.header.gpus
        for _, line in self._lines():
            if isinstance(line, _Sweep):
                known = line.readings.known or known
                yield msgspec.structs.replace(line.readings, known=known)


def _accepted(header: Header, path: Path) -> Header:
    if header.format != FORMAT or header.version != VERSION:
        raise RecordingError(
            f"{path}: is {header.format} version {header.version}; "
            f"this perwatt reads {FORMAT} version {VERSION}"
        )
    return header


def _csv_header(path: Path) -> Header:
    times = [readings.unix_seconds for readings in _csv_readings(path)]
    if len(times) < 2:
        raise RecordingError(f"{path}: has fewer than two readings")
    steps = sorted(later - earlier for earlier, later in pairwise(times))
    if steps[0] <= 0:
        raise RecordingError(f"{path}: t_unix_s does not increase")
    return Header(FORMAT, VERSION, path.stem, steps[len(steps) // 2], "replay")


def _csv_readings(path: Path) -> Iterator[Readings]:
    backend = BackendStatus("replay", up=True)
    try:
        with path.open("rb") as file:
            rows = csv.DictReader(TextIOWrapper(file, encoding="utf-8-sig", newline=""))
            for number, row in enumerate(rows, start=2):
                seconds, watts = _csv_row(row, path, number)
                yield Readings(seconds, seconds, backend, meters=(MeterSample("csv", seconds, watts),))
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: not a CSV file: {error}") from None


def _csv_row(row: dict[str, str], path: Path, number: int) -> tuple[float, float]:
    try:
        seconds, watts = float(row["t_unix_s"]), float(row["watts"])
    except (KeyError, TypeError, ValueError):
        raise RecordingError(f"{path}:{number}: expected numbers in columns t_unix_s and watts") from None
    if not (0.0 <= seconds < float("inf") and 0.0 <= watts < float("inf")):
        raise RecordingError(f"{path}:{number}: a power of {watts} W at {seconds} s is not a valid reading")
    return seconds, watts
