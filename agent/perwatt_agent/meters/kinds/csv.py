"""CSV file to which rows are appended; its last row is the reading."""

import csv
import os
from typing import BinaryIO

from perwatt_agent.clock import Clock
from perwatt_agent.meters.config import PlaceConfig
from perwatt_agent.meters.kind import MeterKind
from perwatt_agent.meters.meter import MeterFailure
from perwatt_agent.meters.reading.figure import Figure
from perwatt_agent.meters.reading.quantity import number, shown, unix_seconds
from perwatt_agent.threads.worker import WorkerThread

DEFAULT_COLUMN = "watts"
AHEAD_SECONDS = 2.0
"""How far a row's time may be ahead of this machine's clock, because clocks differ slightly."""

_HEAD_BYTES = 4096
_TAIL_BYTES = 16 * 1024


class CsvFile:
    """
    Reader of the newest complete row of a file: the first line names the columns, the tail has the row.

    The file is opened again for each read, so that it can be rotated or truncated. A last line without a line
    end is still being written. Times are Unix seconds, or ISO 8601 with a zone.
    """

    def __init__(self, config: PlaceConfig, clock: Clock) -> None:
        assert config.file is not None, "checked with the configuration"
        self._file = config.file
        self._columns = (config.time_column, config.path or DEFAULT_COLUMN)
        self._clock = clock
        self._thread = WorkerThread(f"csv-{config.file.name}", clock)
        self._was_there = False

    async def read(self) -> Figure:
        if self._thread.busy_since is not None:
            raise MeterFailure("hung", f"a read of {self._file} has not returned; check its disk")
        time, value = await self._thread.submit(self._newest_row)
        measured = unix_seconds(time)
        age = self._clock.unix() - measured
        if age < -AHEAD_SECONDS:
            raise MeterFailure(
                "implausible",
                f"the newest row is {-age:.0f} s in the future; check its writer's clock and time zone",
            )
        return Figure(number(value), max(0.0, age), measured)

    def _newest_row(self) -> tuple[str, str]:
        """Return the cells of the two columns in the last complete row. Blocks as long as the disk does."""
        try:
            # O_NONBLOCK: opening a named pipe would otherwise wait for its writer for ever.
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                self._was_there = True
                head, last = _first_and_last_line(file)
        except PermissionError:
            raise MeterFailure(
                "permission_denied", f"the agent may not read {self._file}; give its user read access"
            ) from None
        except FileNotFoundError:
            # During a rotation the file is missing for a moment.
            reason = "stale" if self._was_there else "absent"
            raise MeterFailure(reason, f"{self._file} does not exist; check `file`") from None
        except OSError as error:
            raise MeterFailure("unreachable", f"{self._file}: {error.strerror}") from None
        return _cells(head, last, self._columns)


def _first_and_last_line(file: BinaryIO) -> tuple[str, str]:
    head = file.read(_HEAD_BYTES).partition(b"\n")[0]
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _TAIL_BYTES))
    # A row may be written during the read: only rows before the size seen first are complete.
    lines = file.read(size - start).split(b"\n")[:-1]
    if start == 0:
        lines = lines[1:]
    whole = [line for line in lines if line.strip()]
    if not whole:
        raise MeterFailure("stale", "the file has no complete row yet")
    return head.decode("utf-8-sig", "replace"), whole[-1].decode("utf-8", "replace")


def _cells(head: str, last: str, columns: tuple[str, str]) -> tuple[str, str]:
    delimiter = max(",;\t", key=head.count)
    try:
        names, row = (next(csv.reader([line], delimiter=delimiter)) for line in (head, last))
    except (csv.Error, StopIteration):
        raise MeterFailure("malformed", "the file is not CSV") from None
    names = [name.strip() for name in names]
    missing = [column for column in columns if column not in names]
    if missing:
        raise MeterFailure(
            "malformed",
            f"no column {missing[0]!r} in the first line, {shown(head)}; check `path` and `time_column`",
        )
    twice = [column for column in columns if names.count(column) > 1]
    if twice:
        raise MeterFailure(
            "malformed", f"the first line names several columns {twice[0]!r}; give each a name of its own"
        )
    if len(row) != len(names):
        raise MeterFailure(
            "malformed", f"a row has {len(row)} cells, but the first line names {len(names)} columns"
        )
    time, value = (row[names.index(column)].strip() for column in columns)
    return time, value


ROW = MeterKind(
    name="csv",
    rank=13,
    measures="whatever wrote the file",
    boundary="the wall (AC)",
    limits="only as good as the clock that stamps the rows",
    uncertainty_ratio=0.05,
    uncertainty_basis="whatever wrote the file; 0.01 for a wall analyser",
    interval_seconds=1.0,
    needs=("file",),
    takes=("path", "time_column"),
    unit="optional",
    read_figure=lambda config, clock, interval_seconds: CsvFile(config, clock),
)
