"""Store of the history: one SQLite file, to which ticks are added, each in a transaction of its own."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perwatt_aggregator.history.codec import decode, encode
from perwatt_aggregator.history.config import RESOLUTIONS, HistoryConfig
from perwatt_aggregator.history.roll_up import rolled_up
from perwatt_aggregator.history.schema import OWNERS, ROLL_UP, open_for_writing
from perwatt_aggregator.history.values import Kept, Tick

RAW_SECONDS, *_COARSER = RESOLUTIONS.values()
_KINDS = (OWNERS, ROLL_UP)
_PRUNED_AT_ONCE = 240
"""Ticks that are deleted in one transaction, so that none takes long."""
MAX_EVENTS = 10_000


class HistoryStore:
    """
    The ticks in the file of *config*, all resolutions. Used by one thread at a time.

    *max_pages* limits the file below what the disk holds. Its methods raise sqlite3.Error and OSError; then
    nothing has changed, and the next call tries again.
    """

    def __init__(self, config: HistoryConfig, path: Path, max_pages: int | None = None) -> None:
        self.path = path
        self._retention = config.retention_seconds
        self._max_bytes = config.max_bytes
        self._max_pages = max_pages
        self._connection: sqlite3.Connection | None = None
        self._owners: dict[str, int] = {}
        self._flags: dict[frozenset[str], int] = {}
        self.bytes = 0

    def open(self) -> None:
        """Open the file. Also raises HistoryRefused."""
        if self._connection is None:
            connection = open_for_writing(self.path, self._max_pages)
            self._owners = {
                labels: one for one, labels in connection.execute("SELECT id, labels FROM owners")
            }
            self._flags = {
                _set(names): one for one, names in connection.execute("SELECT id, names FROM flags")
            }
            self._connection = connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def add(self, tick: Tick, events: Sequence[bytes] = ()) -> None:
        """
        Add *tick*, and what it completes at coarser resolutions; delete what is too old, or too much.

        *events* are kept with it, and the oldest beyond MAX_EVENTS are deleted.
        """
        with self._transaction() as connection:
            if events:
                self._add_events(connection, events)
            self._insert(connection, OWNERS, tick, tick.seconds)
            self._insert(connection, ROLL_UP, rolled_up(tick), tick.seconds)
            for finer, coarser in zip((RAW_SECONDS, *_COARSER), _COARSER, strict=False):
                for start in self._complete(connection, finer, coarser, tick.start + tick.seconds):
                    self._compact(connection, finer, coarser, start)
            self._prune_by_age(connection, tick.start)
        self._prune_by_size()

    def events(self) -> list[bytes]:
        """The events, the oldest first."""
        self.open()
        assert self._connection is not None
        return [item for (item,) in self._connection.execute("SELECT item FROM events ORDER BY number")]

    def _add_events(self, connection: sqlite3.Connection, items: Sequence[bytes]) -> None:
        connection.executemany("INSERT INTO events (item) VALUES (?)", [(item,) for item in items])
        connection.execute(
            "DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", (MAX_EVENTS,)
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; numbers of new owners and flags are forgotten with it."""
        self.open()
        connection = self._connection
        assert connection is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # Rolls back; what was numbered meanwhile is read again from the file.
            self.close()
            raise

    def _insert(self, connection: sqlite3.Connection, kind: int, tick: Tick, recorded: int) -> None:
        owners = sorted((self._owner(connection, one), kept) for one, kept in tick.owners.items())
        flags = [self._flag(connection, kept.flags) for _, kept in owners]
        block = encode([one for one, _ in owners], flags, [kept.values for _, kept in owners])
        connection.execute(
            "INSERT INTO ticks (seconds, kind, start, recorded, block) VALUES (?, ?, ?, ?, ?)",
            (tick.seconds, kind, tick.start, recorded, block),
        )

    def _owner(self, connection: sqlite3.Connection, labels: str) -> int:
        if (one := self._owners.get(labels)) is None:
            cursor = connection.execute("INSERT INTO owners (labels) VALUES (?)", (labels,))
            one = self._owners[labels] = int(cursor.lastrowid or 0)
        return one

    def _flag(self, connection: sqlite3.Connection, flags: frozenset[str]) -> int:
        if (one := self._flags.get(flags)) is None:
            cursor = connection.execute("INSERT INTO flags (names) VALUES (?)", (" ".join(sorted(flags)),))
            one = self._flags[flags] = int(cursor.lastrowid or 0)
        return one

    def _complete(self, connection: sqlite3.Connection, finer: int, coarser: int, end: int) -> list[int]:
        """The starts of the coarser ticks that are complete at *end*, and not kept yet."""
        latest = "SELECT coalesce(max(start), -1) FROM ticks WHERE seconds = ? AND kind = ?"
        (last,) = connection.execute(latest, (coarser, OWNERS)).fetchone()
        found = connection.execute(
            "SELECT DISTINCT start / ? * ? FROM ticks "
            "WHERE seconds = ? AND kind = ? AND start >= ? AND start < ?",
            (coarser, coarser, finer, OWNERS, last + coarser if last >= 0 else 0, end // coarser * coarser),
        )
        return sorted(start for (start,) in found)

    def _compact(self, connection: sqlite3.Connection, finer: int, coarser: int, start: int) -> None:
        """Add up the finer ticks of one coarser one."""
        names = {number: labels for labels, number in self._owners.items()}
        sets = {number: flags for flags, number in self._flags.items()}
        for kind in _KINDS:
            owners: dict[int, Kept] = {}
            recorded = 0
            for seconds, blob in connection.execute(
                "SELECT recorded, block FROM ticks "
                "WHERE seconds = ? AND kind = ? AND start >= ? AND start < ?",
                (finer, kind, start, start + coarser),
            ):
                recorded += seconds
                for owner, flags, values in decode(blob).rows():
                    kept = owners.get(owner)
                    if kept is None:
                        owners[owner] = Kept(values, sets[flags])
                    else:
                        kept.add(Kept(values, sets[flags]))
            tick = Tick(start, coarser, {names[owner]: kept for owner, kept in owners.items()})
            self._insert(connection, kind, tick, recorded)

    def _prune_by_age(self, connection: sqlite3.Connection, now: int) -> None:
        for seconds, kept_seconds in self._retention.items():
            connection.execute(
                "DELETE FROM ticks WHERE rowid IN "
                "(SELECT rowid FROM ticks WHERE seconds = ? AND kind IN (0, 1) AND start < ? LIMIT ?)",
                (seconds, now - kept_seconds, _PRUNED_AT_ONCE),
            )

    def _prune_by_size(self) -> None:
        """Delete the oldest ticks of the resolution that takes most, until the file is small enough."""
        connection = self._connection
        assert connection is not None
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        self.bytes = pages * size
        if (pages - free) * size > self._max_bytes:
            counts = "SELECT seconds, count(*) FROM ticks WHERE kind = 0 GROUP BY seconds ORDER BY 2 DESC"
            seconds, count = connection.execute(counts).fetchone() or (RAW_SECONDS, 0)
            oldest = "SELECT start FROM ticks WHERE seconds = ? AND kind = 0 ORDER BY start LIMIT 1 OFFSET ?"
            offset = min(_PRUNED_AT_ONCE, count // 10 + 1)
            found = connection.execute(oldest, (seconds, offset)).fetchone()
            if found is not None:
                with self._transaction():
                    connection.execute(
                        "DELETE FROM ticks WHERE seconds = ? AND start < ?", (seconds, found[0])
                    )
        if free > _PRUNED_AT_ONCE:
            connection.execute(f"PRAGMA incremental_vacuum({_PRUNED_AT_ONCE})").fetchall()


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())
